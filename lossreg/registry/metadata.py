"""Metadata of a declaration: the keys of a manifest and of a decorator, and the check of their kinds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

from lossreg.messages import did_you_mean

# The kinds of values in an entry's metadata, and in its parameters' schema. Other keys of a manifest are unchecked.
_KINDS = {str: "text", dict: "an object", list: "a list", int: "an integer", (int, float): "a number"}
_OF_ENTRY: dict[str, Any] = {
    **dict.fromkeys(("summary", "formula", "shapes", "source", "family"), str),
    **dict.fromkeys(("contract", "parameters", "renamed", "example"), dict),
}
_OF_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("type", "$ref", "description", "pattern"), str),
    **dict.fromkeys(("properties", "items", "functions"), dict),
    **dict.fromkeys(("anyOf", "prefixItems", "enum", "required"), list),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), (int, float)),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), int),
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
    _check_kinds(metadata, _OF_ENTRY, subject)
    if "parameters" in metadata:
        if "properties" not in metadata["parameters"]:
            raise TypeError(f"{subject} parameters have no properties")
        _check_schema(metadata["parameters"], f"the schema of {subject} parameters")
    renamed = metadata.get("renamed", {})
    _check_kinds(renamed, dict.fromkeys(renamed, str), f"{subject} renamed parameter")
    _check_implementations(metadata.get("contract", {}).get("implementations", {}), subject)


def _check_implementations(implementations: Any, subject: str) -> None:
    _check_kinds({"implementations": implementations}, {"implementations": dict}, subject)
    for needs in implementations.values():
        _check_kinds({"implementation": needs}, {"implementation": dict}, "each")
        _check_kinds(needs, {"device": str, "package": str}, "an implementation's")
        package = needs.get("package")
        if package and not package.isidentifier():  # find_spec of a dotted name would import the parent
            raise ValueError(f"an implementation's package must be a top-level one, got {package!r:.80}")


def _check_schema(schema: Any, where: str) -> None:
    _check_kinds({"schema": schema}, {"schema": dict}, where)
    _check_kinds(schema, _OF_SCHEMA, where)
    for key, value in schema.items():
        if key == "properties":
            for name, part in value.items():
                _check_schema(part, f"parameter {name!r:.80}")
        elif key in ("anyOf", "prefixItems"):
            for part in value:
                _check_schema(part, where)
        elif key == "items" or (key == "additionalProperties" and not isinstance(value, bool)):
            _check_schema(value, where)
        elif key == "functions":
            _check_kinds(value, dict.fromkeys(value, str), f"{where}: function")


def _check_kinds(given: Mapping[str, Any], kinds: Mapping[str, Any], subject: str) -> None:
    for key, value in given.items():
        kind = kinds.get(key)
        if kind is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise TypeError(f"{subject} {key:.80} must be {_KINDS[kind]}, got {type(value).__name__}")
