"""JSON Schema of a constructor's parameters, from its signature.

Manifests store the same form, so that validation from a manifest and from the class give one verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import formatannotation
from typing import Any
from weakref import WeakKeyDictionary

from lossreg.errors import ManifestError
from lossreg.messages import warn_once
from lossreg.parameters import docstring
from lossreg.parameters.constructor import EMPTY, Parameter, constructor_parameters, unreadable_annotations
from lossreg.parameters.defaults import annotation_of, default_as_data, is_plain
from lossreg.parameters.from_annotation import schema_of
from lossreg.parameters.kind import Schema
from lossreg.parameters.kinds import kind_of

__all__ = ["describe", "described_as", "parameter_schema", "unreadable_annotations", "unsettable_parameters"]

_described: WeakKeyDictionary[type, Schema] = WeakKeyDictionary()


def describe(cls: type) -> Schema:
    """Return the JSON Schema of the parameters of a class. Cached.

    `**kwargs` means the parameters of the next constructor in the method resolution order. A parameter without an
    annotation has the type of its default. One that no data stands for is left out. A parameter of type nn.Module is a
    nested config; a TypedDict with a key `loss: nn.Module` is one with further keys beside name and params; a Tensor is
    written as numbers.
    """
    if cls not in _described:
        _described[cls] = described_as(cls, {})
    return _described[cls]


def described_as(cls: type, hints: Mapping[str, Any]) -> Schema:
    """Describe a class with other annotations than in its code; None leaves a parameter out.

    Raises:
        ManifestError: the parameters cannot be read, or one without default cannot be set from a config.
    """
    properties: dict[str, Schema] = {}
    required = []
    texts = _argument_texts(cls)
    for name, parameter in constructor_parameters(cls).items():
        left_out = name in hints and hints[name] is None
        schema = None if left_out else parameter_schema(cls, parameter, hints.get(name, EMPTY))
        if schema is None:
            continue
        if text := texts.get(name):
            schema["description"] = text
        if parameter.required:
            required.append(name)
        properties[name] = schema
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def warn_unreadable(cls: type) -> None:
    """Warn of the annotations that cannot be evaluated, once for each class."""
    for name, reason in unreadable_annotations(cls).items():
        target = f"{cls.__module__}:{cls.__qualname__}"
        remedy = "import what it names, at the top of the module and not for type checkers alone"
        message = (
            f"{target}: the parameter {name} is not checked, as its annotation cannot be read ({reason}); {remedy}"
        )
        warn_once(f"{target} {name}", message)


def unsettable_parameters(cls: type) -> dict[str, str]:
    """Return the parameters that a config cannot set, which keep their defaults, each with its annotation."""
    described = describe(cls)["properties"]
    return {
        name: "no annotation" if each.hint is EMPTY else formatannotation(each.hint)
        for name, each in constructor_parameters(cls).items()
        if name not in described
    }


def _argument_texts(cls: type) -> dict[str, str]:
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        texts |= docstring.arguments(base.__dict__.get("__doc__"))
        texts |= docstring.arguments(getattr(base.__dict__.get("__init__"), "__doc__", None))
    return texts


def parameter_schema(cls: type, parameter: Parameter, hint: Any = EMPTY) -> Schema | None:
    """Return the schema of a parameter; None if only its constructor can set it.

    Args:
        cls: the class of the constructor, for messages.
        parameter: one of the constructor.
        hint: another annotation than in the code.
    Raises:
        ManifestError: it has no default, and no config can hold a value of its annotation.
    """
    default = parameter.default
    if hint is EMPTY:
        hint = annotation_of(parameter)
    schema = None if hint is EMPTY else schema_of(hint)
    if schema is None and parameter.required and hint is not EMPTY:
        raise _unfit(cls, parameter)
    if schema is None and not parameter.required and (hint is not EMPTY or not is_plain(default)):
        return None
    data = default_as_data(EMPTY if schema is None else hint, default)
    schema = dict(_inferred(default) if schema is None else schema)
    kind = kind_of(schema)
    if data is None and not kind.takes(None):  # `weight: float = None`
        schema = {"anyOf": [schema, {"type": "null"}]}
    elif data is not EMPTY and not kind.has_slots and not kind.takes(data):
        data = EMPTY  # a config that has it would not be valid
    return schema if data is EMPTY else schema | {"default": data}


def _unfit(cls: type, parameter: Parameter) -> ManifestError:
    target = f"{cls.__module__}:{cls.__qualname__}"
    return ManifestError(
        f"the parameter {parameter.name} of {target} cannot be set from a config: no plain data stands for"
        f" {formatannotation(parameter.hint):.200}; annotate it otherwise (a function: lossreg.authoring.Functions), or"
        " give it a default",
        source=target,
    )


def _inferred(default: object) -> Schema:
    """Return the schema for the type of a default: an int allows floats (`smooth=1`), None allows everything."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "boolean"),
        ((int, float), "number"),
        (str, "string"),
        ((list, tuple), "array"),
    )
    return next(({"type": kind} for types_, kind in kinds if isinstance(default, types_)), {})
