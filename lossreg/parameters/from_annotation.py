"""JSON Schema of an annotation: plain values by pydantic, and slots for losses, parts, tensors and functions."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError

from lossreg.parameters.types import FUNCTIONS, LOSS, TENSOR, Functions, Part, reference
from lossreg.registry.entry import check_target

Schema = dict[str, Any]

# What parameter_model.py makes a type of again. Anything else in an annotation is no plain data.
_KEYWORDS = {"type", "enum", "const", "anyOf", "items", "prefixItems", "minItems", "maxItems", "additionalProperties"}
_KEYWORDS |= {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_KEYWORDS |= {"minLength", "maxLength", "pattern"}


def schema_of(hint: Any) -> Schema | None:
    """JSON Schema of an annotation; None if no config can hold it."""
    if _holds_slot(hint):
        return _slot_schema(hint)
    try:
        schema = TypeAdapter(hint).json_schema()
    except (PydanticUserError, PydanticSchemaGenerationError, PydanticSerializationError):
        return None
    return _plain_schema(schema)


def _plain_schema(schema: Schema) -> Schema | None:
    """Without titles; None if it holds anything that parameter_model.py cannot make a type of."""
    schema = {key: value for key, value in schema.items() if key not in ("title", "description", "default")}
    if schema.get("uniqueItems") or not schema.keys() <= _KEYWORDS:
        return None
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _plain_schema(schema[key])
            if schema[key] is None:
                return None
    for key in ("anyOf", "prefixItems"):
        if key in schema:
            schema[key] = [_plain_schema(part) for part in schema[key]]
            if None in schema[key]:
                return None
    return schema


def _derives(hint: Any, module: str, name: str) -> bool:
    # By name: this file must not import torch, and a class that derives from another has it in its bases.
    return any((base.__module__, base.__name__) == (module, name) for base in getattr(hint, "__mro__", ()))


def _is_module(hint: Any) -> bool:
    return _derives(hint, "torch.nn.modules.module", "Module")


def _is_tensor(hint: Any) -> bool:
    return _derives(hint, "torch", "Tensor")


def _holds_slot(hint: Any) -> bool:
    if isinstance(hint, (Part, Functions)) or _is_module(hint) or _is_tensor(hint) or is_typeddict(hint):
        return True
    return any(map(_holds_slot, get_args(hint)))


def _slot_schema(hint: Any) -> Schema | None:
    """A nested config where the annotation says nn.Module, numbers where it says Tensor; lists, dicts, unions too."""
    origin, arguments = get_origin(hint), get_args(hint)
    if _is_module(hint):
        return reference(LOSS)
    if _is_tensor(hint):
        return reference(TENSOR)
    if is_typeddict(hint):
        return _record_schema(hint)
    if origin is Annotated:
        return _annotated_schema(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        parts = [schema_of(part) for part in arguments]
        return None if None in parts else {"anyOf": parts}
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
    """A TypedDict whose key `loss` is a module: a nested config with the other keys beside name and params."""
    hints = get_type_hints(hint, include_extras=True)
    if not _is_module(hints.pop("loss", None)):
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
