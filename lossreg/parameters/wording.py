"""Words for people: what a parameter's schema allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossreg.parameters.types import TENSOR, role_of

_KINDS = {"number": "a number", "integer": "an integer", "boolean": "true or false", "string": "text", "null": "null"}
_BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
    "multipleOf": "multiple of",
}


def words(schema: Mapping[str, Any]) -> str:
    """`a number >= 0 and <= 1`, `one of "mean", "sum"`, `a list of at least 2, each a number`, `text or null`."""
    role = role_of(schema)
    if role == TENSOR:
        return "a number or lists of numbers, nested ones of equal length"
    if role is not None:
        return f"a {role}: its name or {{" + ", ".join(["name", "params", *schema.get("properties", {})]) + "}"
    if "anyOf" in schema:
        return " or ".join(words(part) for part in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    kind = schema.get("type", "")
    if kind == "array":
        return _list_words(schema)
    if kind == "object":
        values = schema.get("additionalProperties")
        return "a mapping" + (f" to {words(values)}" if isinstance(values, dict) else "")
    bounds = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([_KINDS.get(kind, "any value"), " and ".join(bounds)]).strip() + _length_words(schema, "Length")


def _list_words(schema: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return "a list of " + ", then ".join(words(part) for part in schema["prefixItems"])
    items = schema.get("items")
    return "a list" + _length_words(schema, "Items") + (f", each {words(items)}" if items else "")


def _length_words(schema: Mapping[str, Any], unit: str) -> str:
    least, most = schema.get(f"min{unit}"), schema.get(f"max{unit}")
    parts = [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
    return " of " + " and ".join(parts) + (" characters" if unit == "Length" else "") if parts else ""
