"""JSON Schema of annotations: plain values by pydantic, slots for losses, parts, tensors and functions."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError

from lossreg.parameters.kind import Schema
from lossreg.parameters.kinds import kind_of
from lossreg.parameters.types import FUNCTIONS, LOSS, TENSOR, Functions, Part, is_module, is_tensor, reference
from lossreg.registry.entry import check_target


def schema_of(hint: Any) -> Schema | None:
    """Return the JSON Schema of an annotation; None if no config can hold its values."""
    if _holds_slot(hint):
        return _slot_schema(hint)
    try:
        kind = kind_of(TypeAdapter(hint).json_schema())
    except (PydanticUserError, PydanticSchemaGenerationError, PydanticSerializationError):
        return None
    return kind.to_schema() if kind.is_complete() else None


def _holds_slot(hint: Any) -> bool:
    if isinstance(hint, (Part, Functions)) or is_module(hint) or is_tensor(hint) or is_typeddict(hint):
        return True
    return any(map(_holds_slot, get_args(hint)))


def _slot_schema(hint: Any) -> Schema | None:
    """Describe an annotation with nn.Module (a nested config), Tensor (numbers), or lists, dicts and unions of them."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_module(hint):
        return reference(LOSS)
    if is_tensor(hint):
        return reference(TENSOR)
    if is_typeddict(hint):
        return _record_schema(hint)
    if origin is Annotated:
        return _annotated_schema(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        parts = [schema_of(part) for part in arguments]
        return None if None in parts else {"anyOf": parts}
    if origin is tuple and Ellipsis not in arguments:
        places = [schema_of(part) for part in arguments]
        length = {"maxItems": len(places), "minItems": len(places)}
        return None if None in places else {**length, "prefixItems": places, "type": "array"}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        values = schema_of(arguments[1])
        return values and {"type": "object", "additionalProperties": values}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        items = schema_of(arguments[0])
        return items and {"type": "array", "items": items}
    return None


def _annotated_schema(inner: Any, metadata: tuple[Any, ...]) -> Schema | None:
    for mark in metadata:
        if isinstance(mark, Part):
            return reference(mark.role)
        if isinstance(mark, Functions):
            targets = {name: check_target(target) for name, target in mark.targets.items()}
            return {"enum": list(targets), FUNCTIONS: targets}
    schema, bounds = schema_of(inner), schema_of(Annotated[list[Any], *metadata])
    keep = ("minItems", "maxItems")
    return schema and schema | {key: value for key, value in (bounds or {}).items() if key in keep}


def _record_schema(hint: Any) -> Schema | None:
    """Describe a TypedDict with a module as `loss`: a nested config, the other keys beside its name and params."""
    hints = get_type_hints(hint, include_extras=True)
    if not is_module(hints.pop("loss", None)):
        return None
    required = []
    properties = {}
    for key, value in hints.items():
        optional = get_origin(value) is NotRequired
        bare = get_args(value)[0] if optional else value
        schema = schema_of(bare)
        if schema is None:
            return None
        default = None if _holds_slot(bare) else TypeAdapter(bare).json_schema().get("default")
        properties[key] = schema if default is None else schema | {"default": default}
        if not optional:
            required.append(key)
    return {**reference(LOSS), "properties": properties, "required": required}
