"""Names that a restriction to some providers excludes, and the allowed names to write instead."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lossreg.errors import AmbiguousNameError
from lossreg.registry.registry import Registry


def not_allowed(full_name: str, name: str, registry: Registry[Any], providers: Collection[str]) -> str:
    """Word the problem of an entry that the given name leads to, with the allowed entries of the same short name."""
    same = [f"{provider}/{name.rpartition('/')[2]}" for provider in providers]
    return _worded(full_name, providers, [each for each in same if _is_enabled(each, registry)])


def tie(error: AmbiguousNameError, providers: Collection[str] | None) -> str:
    """Word the problem of a name that several providers claim. Only the allowed ones can be written instead."""
    allowed = [each for each in error.candidates if providers is None or each.split("/")[0] in providers]
    if providers is None or len(allowed) == len(error.candidates):
        return str(error)
    return _worded(" or ".join(each for each in error.candidates if each not in allowed), providers, allowed)


def _worded(full_names: str, providers: Collection[str], instead: list[str]) -> str:
    allowed = ", ".join(sorted(providers)) or "none"
    advice = f"; write {' or '.join(sorted(instead))}" if instead else ""
    return f"{full_names} is not allowed here; allowed providers: {allowed}{advice}"


def _is_enabled(name: str, registry: Registry[Any]) -> bool:
    return name in registry and not registry.entry(name).disabled_reason
