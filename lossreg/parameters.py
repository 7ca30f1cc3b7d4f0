"""What a loss's constructor takes, as JSON Schema: described from a class, or read from a manifest.

Every validation goes through this one form, so that a manifest and the class it was made from give the same verdict.
"""

from __future__ import annotations

import inspect
import json
import math
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict
from weakref import WeakKeyDictionary

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from lossreg import docstring

Schema = dict[str, Any]

LOSS_REF = "#/$defs/loss"

# What parameter_model.py makes a type of again. Anything else in an annotation is no plain data.
_KEYWORDS = {"type", "enum", "const", "anyOf", "items", "prefixItems", "minItems", "maxItems", "additionalProperties"}
_KEYWORDS |= {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_KEYWORDS |= {"minLength", "maxLength", "pattern"}

_described: WeakKeyDictionary[type, Schema] = WeakKeyDictionary()


def describe(cls: type) -> Schema:
    """JSON Schema of the parameters of a class, from its signature. Cached.

    `**kwargs` stands for the parameters of the next constructor in the method resolution order. A parameter without an
    annotation, or with one that is no plain data, takes the type of its default. A parameter of type nn.Module takes a
    nested config; a TypedDict with a key `loss: nn.Module` one with further keys beside name and params.
    """
    if cls not in _described:
        properties: dict[str, Schema] = {}
        required = []
        texts = _argument_texts(cls)
        for parameter, hint in _constructor_parameters(cls).values():
            schema = _parameter_schema(hint, parameter.default)
            if schema is None:
                continue
            if text := texts.get(parameter.name):
                schema["description"] = text
            if parameter.default is inspect.Parameter.empty:
                required.append(parameter.name)
            properties[parameter.name] = schema
        _described[cls] = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    return _described[cls]


def _constructor_parameters(cls: type) -> dict[str, tuple[inspect.Parameter, Any]]:
    found: dict[str, tuple[inspect.Parameter, Any]] = {}
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        if not inspect.isfunction(init):
            continue
        try:
            hints = get_type_hints(init, include_extras=True)
        except (NameError, TypeError, AttributeError, SyntaxError):
            hints = {}  # a name that exists for type checkers only; the defaults still tell
        passes_on = False
        for parameter in list(inspect.signature(init).parameters.values())[1:]:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                passes_on = True
            elif parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, (parameter, hints.get(parameter.name, inspect.Parameter.empty)))
        if not passes_on:
            break
    return found


def _argument_texts(cls: type) -> dict[str, str]:
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        texts |= docstring.arguments(base.__dict__.get("__doc__"))
        texts |= docstring.arguments(getattr(base.__dict__.get("__init__"), "__doc__", None))
    return texts


def _parameter_schema(hint: Any, default: object) -> Schema | None:
    """None for a parameter whose default is no plain data and whose type is not known: no config can hold it."""
    given = default is not inspect.Parameter.empty
    schema = None if hint is inspect.Parameter.empty else _schema_of(hint)
    if schema is None and given and not _is_plain(default):
        return None
    schema = dict(_inferred(default) if schema is None else schema)
    if given and _is_plain(default):
        if default is None and not _takes_null(schema):  # `weight: float = None`
            schema = {"anyOf": [schema, {"type": "null"}]}
        schema["default"] = json.loads(json.dumps(default))  # as a manifest holds it, tuples as lists
    return schema


def _takes_null(schema: Schema) -> bool:
    return not schema.keys() & {"type", "enum", "const", "anyOf", "$ref"} or any(
        part.get("type") == "null" or None in part.get("enum", [part.get("const", "")])
        for part in schema.get("anyOf", [schema])
    )


def _inferred(default: object) -> Schema:
    """The type of a default. An int may stand for a float (`smooth=1`), and None says nothing."""
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


def _schema_of(hint: Any) -> Schema | None:
    """JSON Schema of an annotation; None if it is no plain data."""
    if _holds_module(hint):
        return _module_schema(hint)
    try:
        schema = TypeAdapter(hint).json_schema()
    except (PydanticUserError, PydanticSchemaGenerationError):
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


def _is_module(hint: Any) -> bool:
    # By name: this file must not import torch, and a class that derives from Module has it in its bases.
    bases = getattr(hint, "__mro__", ())
    return any((base.__module__, base.__name__) == ("torch.nn.modules.module", "Module") for base in bases)


def _holds_module(hint: Any) -> bool:
    return _is_module(hint) or is_typeddict(hint) or any(map(_holds_module, get_args(hint)))


def _module_schema(hint: Any) -> Schema | None:
    """A nested config where the annotation says nn.Module; lists, dicts and unions of it too."""
    origin, arguments = get_origin(hint), get_args(hint)
    if _is_module(hint):
        return {"$ref": LOSS_REF}
    if is_typeddict(hint):
        return _record_schema(hint)
    if origin is Annotated:
        inner, *metadata = arguments
        schema, bounds = _schema_of(inner), _schema_of(Annotated[list[Any], *metadata])
        keep = ("minItems", "maxItems")
        return schema and schema | {key: value for key, value in (bounds or {}).items() if key in keep}
    if origin in (Union, types.UnionType):
        parts = [_schema_of(part) for part in arguments]
        return None if None in parts else {"anyOf": parts}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        values = _schema_of(arguments[1])
        return values and {"type": "object", "additionalProperties": values}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        items = _schema_of(arguments[0])
        return items and {"type": "array", "items": items}
    return None


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
        schema = _schema_of(bare)
        if schema is None:
            return None
        default = TypeAdapter(bare).json_schema().get("default")
        properties[key] = schema if default is None else schema | {"default": default}
        if not optional:
            required.append(key)
    return {"$ref": LOSS_REF, "properties": properties, "required": required}
