"""Metadata of a declaration: the keys of a manifest and of a decorator, and the check of their kinds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

from lossreg.messages import did_you_mean
from lossreg.registry.parameter_schema import check_kinds, check_schema

# The kinds of values in an entry's metadata. Other keys of a manifest are unchecked.
_OF_ENTRY: dict[str, Any] = {
    **dict.fromkeys(("summary", "formula", "tex", "shapes", "source", "family"), str),
    **dict.fromkeys(("contract", "parameters", "renamed", "example"), dict),
}

NAMED = ("tags", "aliases")
DECORATED = ("contract", "summary", "family", "example", "renamed")  # the rest is in docstring and signature
LAZY = tuple(_OF_ENTRY)


def keywords(function: str, given: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
    """Check the keywords of a registering function, and return those that are not None.

    Raises:
        TypeError, ValueError: there is no such keyword, or its value is malformed.
    """
    for key in given:
        if key not in allowed:
            names = [*NAMED, *allowed]
            hint = did_you_mean(key, names, otherwise=f"it has name, {', '.join(names)}")
            raise TypeError(f"{function}() has no keyword {key!r}; {hint}")
    found = {key: deepcopy(value) for key, value in given.items() if value is not None}
    check(found, f"{function}():")
    return found


def check(metadata: Mapping[str, Any], subject: str = "its") -> None:
    """Check the kinds of an entry's metadata.

    Raises:
        TypeError, ValueError: a value that readers of the registry cannot take.
    """
    check_kinds(metadata, _OF_ENTRY, subject)
    if "parameters" in metadata:
        if "properties" not in metadata["parameters"]:
            raise TypeError(f"{subject} parameters have no properties")
        check_schema(metadata["parameters"], f"the schema of {subject} parameters")
    renamed = metadata.get("renamed", {})
    check_kinds(renamed, dict.fromkeys(renamed, str), f"{subject} renamed parameter")
    _check_implementations(metadata.get("contract", {}).get("implementations", {}), subject)


def _check_implementations(implementations: Any, subject: str) -> None:
    check_kinds({"implementations": implementations}, {"implementations": dict}, subject)
    for needs in implementations.values():
        check_kinds({"implementation": needs}, {"implementation": dict}, "each")
        check_kinds(needs, {"device": str, "package": str}, "an implementation's")
        package = needs.get("package")
        if package and not package.isidentifier():  # find_spec of a dotted name would import the parent
            raise ValueError(f"an implementation's package must be a top-level one, got {package!r:.80}")
