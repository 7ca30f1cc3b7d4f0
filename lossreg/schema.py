"""JSON Schema (2020-12) of every valid config: a union discriminated on the name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lossreg.checker import parameters
from lossreg.discovery import losses
from lossreg.entry import Entry
from lossreg.errors import LossregError
from lossreg.slots import LOSS_REF


def json_schema(names: Iterable[str] | None = None) -> dict[str, Any]:
    """What `validate` accepts, for editors and other tools.

    Args:
        names: the losses to include; None for all that can be described. Losses nested in others are of these, too.
    Raises:
        NotFoundError, ProviderError: a named loss is unknown or broken.
    """
    variants = _all_variants() if names is None else [_variant(losses.entry(name)) for name in names]
    bare = [
        name
        for variant in variants
        if variant["required"] == ["name"]
        for name in variant["properties"]["name"]["enum"]
        if name not in variant["if"]["properties"]["name"]["enum"]
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lossreg loss config",
        "$ref": LOSS_REF,
        # A slot may allow keys beside name and params, so each use of a loss closes it, not the loss itself.
        "unevaluatedProperties": False,
        "$defs": {"loss": {"anyOf": [{"enum": bare}, {"type": "object", "oneOf": variants}]}},
    }


def _all_variants() -> list[dict[str, Any]]:
    variants = []
    for entry in losses.entries():
        try:
            variants.append(_variant(entry))
        except LossregError:
            continue  # a broken or disabled provider has no valid config
    return variants


def _variant(entry: Entry) -> dict[str, Any]:
    described = _close(parameters(entry))
    required = bool(described.get("required"))
    full = [name for name in (f"{entry.provider}/{name}" for name in entry.spellings()) if _leads_to(entry, name)]
    short = [name for name in entry.spellings() if _leads_to(entry, name)]
    tied = [name for name in entry.spellings() if name not in short and f"{entry.provider}/{name}" in full]
    return {
        "title": entry.name,
        "description": entry.metadata.get("summary", ""),
        "properties": {
            "name": {"enum": [*short, *full, *tied]},
            "params": described if required else described | {"type": ["object", "null"]},
            "provider": {"const": entry.provider},
            "version": {"type": "string"},
        },
        "required": ["name", "params"] if required else ["name"],
        # The provider picks among those that share a name.
        "if": {"properties": {"name": {"enum": tied}}},
        "then": {"required": ["provider"]},
    }


def _leads_to(entry: Entry, name: str) -> bool:
    return name in losses and losses.entry(name).full_name == entry.full_name


def _close(schema: Any) -> Any:
    """A copy in which every nested loss allows no keys but its own and those of its slot."""
    if isinstance(schema, list):
        return [_close(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {key: _close(part) for key, part in schema.items()}
    if copied.get("$ref") != LOSS_REF:
        return copied
    # A bare name has no place for the keys that its slot requires.
    named = {"type": "object"} if copied.get("required") else {}
    return copied | named | {"unevaluatedProperties": False}
