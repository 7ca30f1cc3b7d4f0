"""What is in a value and is not plain: nested losses, parts, tensors, functions. The schema tells where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lossreg.messages import join
from lossreg.parameters.types import FUNCTIONS, TENSOR, role_of
from lossreg.parameters.validator import Schema

_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def map_nested(schema: Schema, value: Any, path: str, change: Callable[[Schema, Any, str], Any]) -> Any:
    """A parameter's value with all that is no plain value in it replaced by `change(its schema, value, path)`."""
    if "$ref" in schema or (FUNCTIONS in schema and isinstance(value, str)):
        return change(schema, value, path)
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        return [map_nested(items, item, join(path, index), change) for index, item in enumerate(value)]
    if isinstance(value, dict) and isinstance(values := schema.get("additionalProperties"), dict):
        return {key: map_nested(values, item, join(path, key), change) for key, item in value.items()}
    # What is exactly meant comes before what is of the right kind: `Literal["auto"] | nn.Module`.
    members = sorted(schema.get("anyOf", ()), key=lambda part: not {"enum", "const"} & part.keys())
    for inside in (True, False):  # what fits throughout, else what is to tell what is wrong inside
        for part in members:
            if _takes(part, value, inside=inside):
                return map_nested(part, value, path, change)
    return value


def _takes(part: Schema, value: Any, *, inside: bool) -> bool:
    """Which member of a union is meant: a loss is a name or a mapping, a list of losses a list of those."""
    role = role_of(part)
    if role is not None:
        kinds: tuple[type, ...] = (list, int, float) if role == TENSOR else (str, dict)
        return isinstance(value, kinds) and not isinstance(value, bool)
    if "enum" in part or "const" in part:
        return value in part.get("enum", [part.get("const")])
    if "anyOf" in part:
        return any(_takes(member, value, inside=inside) for member in part["anyOf"])
    kind = part.get("type", "")
    if kind == "array":
        items = part.get("items") if inside else None
        return isinstance(value, list) and all(_takes(items or {}, item, inside=True) for item in value)
    if kind == "object":
        inner = part.get("additionalProperties") if inside else None
        values = inner if isinstance(inner, dict) else {}
        return isinstance(value, dict) and all(_takes(values, item, inside=True) for item in value.values())
    if isinstance(value, bool):
        return kind in ("boolean", "")
    return isinstance(value, _KINDS.get(kind, object))
