"""Names and classes of a stub: they are Python for any text in a manifest."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Mapping


def camel(name: str) -> str:
    """Write `segmentation/log_cosh_dice` as `SegmentationLogCoshDice`, and any other text as an identifier."""
    plain = unicodedata.normalize("NFKC", name)  # as Python reads names
    words = re.split(r"[\W_]+", "".join(each if f"a{each}".isidentifier() else "_" for each in plain))
    found = "".join(word[:1].upper() + word[1:] for word in words)
    return found if found.isidentifier() else f"L{found}"  # as for a provider that begins with a digit


def is_field(key: str) -> bool:
    """Return whether the body of a class can declare this key as it is. Python mangles `__a` and normalizes others."""
    plain = key.isidentifier() and unicodedata.normalize("NFKC", key) == key
    return plain and not keyword.iskeyword(key) and not key.startswith("__")


def typed_dict(name: str, fields: Mapping[str, str], summary: str = "", base: str = "TypedDict") -> str:
    """Write a TypedDict: as a class, or as a call if a key is no identifier."""
    if not all(map(is_field, fields)):
        inner = "".join(f"    {key!r}: {written},\n" for key, written in fields.items())
        return f"{name} = TypedDict({name!r}, {{\n{inner}}}, total=False)"
    lines = [f"    {summary!r}"] * bool(summary) + [f"    {key}: {written}" for key, written in fields.items()]
    return f"class {name}({base}, total=False):\n" + "\n".join(lines or ["    ..."])
