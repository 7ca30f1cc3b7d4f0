"""JSON Schema of a constructor's parameters, from its signature.

Manifests store the same form, so that validation from a manifest and from the class give one verdict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

from lossreg.parameters import docstring
from lossreg.parameters.constructor import EMPTY, constructor_parameters, unreadable_annotations
from lossreg.parameters.from_annotation import schema_of
from lossreg.parameters.kind import Schema
from lossreg.parameters.kinds import kind_of

__all__ = ["describe", "described_as", "unreadable_annotations"]

_described: WeakKeyDictionary[type, Schema] = WeakKeyDictionary()


def describe(cls: type) -> Schema:
    """Return the JSON Schema of the parameters of a class. Cached.

    `**kwargs` means the parameters of the next constructor in the method resolution order. A parameter without an
    annotation of plain data has the type of its default. A parameter of type nn.Module is a nested config; a TypedDict
    with a key `loss: nn.Module` is one with further keys beside name and params; a Tensor is written as numbers.
    """
    if cls not in _described:
        _described[cls] = described_as(cls, {})
    return _described[cls]


def described_as(cls: type, hints: Mapping[str, Any]) -> Schema:
    """Describe a class with other annotations than in its code; None leaves a parameter out."""
    properties: dict[str, Schema] = {}
    required = []
    texts = _argument_texts(cls)
    for name, parameter in constructor_parameters(cls).items():
        left_out = name in hints and hints[name] is None
        schema = None if left_out else _parameter_schema(hints.get(name, parameter.hint), parameter.default)
        if schema is None:
            continue
        if text := texts.get(name):
            schema["description"] = text
        if parameter.required:
            required.append(name)
        properties[name] = schema
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _argument_texts(cls: type) -> dict[str, str]:
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        texts |= docstring.arguments(base.__dict__.get("__doc__"))
        texts |= docstring.arguments(getattr(base.__dict__.get("__init__"), "__doc__", None))
    return texts


def _parameter_schema(hint: Any, default: object) -> Schema | None:
    """Return the schema of a parameter; None if neither annotation nor default is plain data."""
    given = default is not EMPTY
    if isinstance(default, str) and isinstance(default, Enum):
        default = default.value  # a member of an enum of strings equals its text
    schema = None if hint is EMPTY else schema_of(hint)
    if schema is None and given and not _is_plain(default):
        return None
    schema = dict(_inferred(default) if schema is None else schema)
    if given and _is_plain(default):
        if default is None and not kind_of(schema).takes(None):  # `weight: float = None`
            schema = {"anyOf": [schema, {"type": "null"}]}
        schema["default"] = json.loads(json.dumps(default))  # as a manifest holds it, tuples as lists
    return schema


def _inferred(default: object) -> Schema:
    """Return the schema for the type of a default: an int allows floats (`smooth=1`), None allows everything."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "boolean"),
        ((int, float), "number"),
        (str, "string"),
        ((list, tuple), "array"),
    )
    return next(({"type": kind} for types_, kind in kinds if isinstance(default, types_)), {})


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))
