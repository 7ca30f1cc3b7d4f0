"""Text of manifests: the form of the file, and the differences between two."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from lossreg.authoring.package_modules import is_excluded
from lossreg.discovery.manifest import SECTIONS


def dumps(data: dict[str, Any]) -> str:
    """Return the text of the manifest's file."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def differences(manifest: dict[str, Any], code: dict[str, Any]) -> list[str]:
    """List the places where a manifest and the code differ, such as `losses.focal.parameters.properties.gamma`."""
    sides = (("-", dict(_values(manifest))), ("+", dict(_values(code))))
    (_, before), (_, after) = sides
    lines = ["- manifest", "+ code"]
    for place in sorted({*before, *after}):
        if before.get(place) != after.get(place):
            lines += [f"{sign} {place} = {side[place]}" for sign, side in sides if place in side]
    return lines if len(lines) > 2 else [*lines, "the same values, in another order"]


def _values(data: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every value that is not an object."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _values(value, f"{place}.{key}" if place else key)
    else:
        yield place, json.dumps(data, ensure_ascii=False)


def without(written: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
    """Return the manifest without the losses and parts in these modules."""
    kept = dict(written)
    for section in SECTIONS if failed else ():
        if isinstance(described := written.get(section), dict):
            kept[section] = {name: entry for name, entry in described.items() if not _is_of(entry, failed)}
            if not kept[section]:
                del kept[section]
    return kept


def _is_of(described: object, modules: Collection[str]) -> bool:
    target = described.get("target") if isinstance(described, dict) else None
    return isinstance(target, str) and is_excluded(target.partition(":")[0], modules)
