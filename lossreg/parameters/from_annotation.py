"""JSON Schema of annotations: plain values by pydantic, slots for losses, parts, tensors and functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from lossreg.parameters.constructor import EMPTY
from lossreg.parameters.defaults import default_as_data
from lossreg.parameters.hints import Field, fields_of, holds_slot, is_namedtuple, is_union, unnamed
from lossreg.parameters.kind import Schema
from lossreg.parameters.plain_schema import plain_schema
from lossreg.parameters.types import FUNCTIONS, LOSS, TENSOR, Functions, Part, is_module, is_tensor, reference
from lossreg.registry.entry import check_target


def schema_of(hint: Any) -> Schema | None:
    """Return the JSON Schema of an annotation; None if no config can hold its values."""
    hint = unnamed(hint)
    if not holds_slot(hint):
        return plain_schema(hint)
    try:
        return _slot_schema(hint)
    except RecursionError:  # a class that holds itself
        return None


def _slot_schema(hint: Any) -> Schema | None:
    """Describe an annotation with nn.Module (a nested config), Tensor (numbers), or what holds them."""
    if is_module(hint):
        return reference(LOSS)
    if is_tensor(hint):
        return reference(TENSOR)
    fields = fields_of(hint)
    if fields is not None:
        return _fields_schema(hint, fields)
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return _annotated_schema(arguments[0], arguments[1:])
    if is_union(hint):
        parts = [part for part in map(schema_of, arguments) if part is not None]  # np.ndarray | Tensor is a tensor
        return {"anyOf": parts} if len(parts) > 1 else next(iter(parts), None)
    return _container_schema(get_origin(hint), arguments)


def _container_schema(origin: Any, arguments: tuple[Any, ...]) -> Schema | None:
    if origin is tuple and Ellipsis not in arguments:
        return _places(arguments, len(arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        keys, values = plain_schema(GenericAlias(dict, (arguments[0], Any))), schema_of(arguments[1])
        if keys is None or values is None:
            return None
        names = {"propertyNames": keys["propertyNames"]} if "propertyNames" in keys else {}
        return {"type": "object", "additionalProperties": values, **names}
    if isinstance(origin, type) and issubclass(origin, (Sequence, set, frozenset)):
        items = schema_of(arguments[0])
        return items and {"type": "array", "items": items}
    return None


def _places(hints: Sequence[Any], needed: int) -> Schema | None:
    places = [schema_of(hint) for hint in hints]
    length = {"maxItems": len(places), "minItems": needed}
    return None if None in places else {**length, "prefixItems": places, "type": "array"}


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


def _fields_schema(hint: Any, fields: dict[str, Field]) -> Schema | None:
    """Describe named values: by their places, beside the name of a nested config, or as a mapping."""
    if is_namedtuple(hint):
        return _places([each.hint for each in fields.values()], sum(each.required for each in fields.values()))
    beside = is_typeddict(hint) and is_module(getattr(fields.get("loss"), "hint", None))
    if beside:  # a nested config, the other keys beside its name and params
        fields = {name: each for name, each in fields.items() if name != "loss"}
    properties: dict[str, Schema] = {}
    for name, each in fields.items():
        schema = schema_of(each.hint)
        if schema is None:
            return None
        default = None if holds_slot(each.hint) else _default(each)
        properties[name] = schema if default is None else schema | {"default": default}
    held = {"properties": properties, "required": [name for name, each in fields.items() if each.required]}
    return {**reference(LOSS), **held} if beside else {"type": "object", **held, "additionalProperties": False}


def _default(field: Field) -> Any:
    """Return a default as data; None if the class keeps it."""
    default = TypeAdapter(field.hint).json_schema().get("default") if field.default is None else field.default
    data = default_as_data(field.hint, default)
    return None if data is EMPTY else data
