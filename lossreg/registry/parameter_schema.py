"""Check of the JSON Schema of parameters, as a manifest has it, so that every reader can take it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from keyword import iskeyword
from typing import Any

Check = Callable[[Any], bool]

_KINDS = {str: "text", dict: "an object", list: "a list", int: "an integer", (int, float): "a number"}
_OF_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("type", "$ref", "description", "pattern"), str),
    **dict.fromkeys(("properties", "items", "functions", "propertyNames"), dict),
    **dict.fromkeys(("anyOf", "prefixItems", "enum", "required"), list),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), (int, float)),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"), int),
}
_TYPES = ("null", "boolean", "object", "array", "number", "integer", "string")
_REFERENCE = re.compile(r"#/\$defs/[^\W\d][\w.\-]*")  # to tensors, losses, or parts with this tag
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

# What the value of a keyword must be, beside its kind.
_VALUES: dict[str, tuple[Check, str]] = {
    "type": (lambda value: value in _TYPES, f"one of {', '.join(_TYPES)}"),
    "$ref": (_REFERENCE.fullmatch, "#/$defs/loss, #/$defs/tensor or #/$defs/ with the tag of a part"),  # type: ignore[dict-item]
    "pattern": (lambda value: _is_pattern(value), "a regular expression"),
    "multipleOf": (lambda value: value > 0, "above 0"),
    "required": (lambda value: all(isinstance(name, str) for name in value), "a list of text"),
    **dict.fromkeys(("anyOf", "prefixItems", "enum"), (bool, "a list that is not empty")),
    **dict.fromkeys((key for key, kind in _OF_SCHEMA.items() if kind is int), (lambda value: value >= 0, "0 or more")),
}

# The schemas in the value of a keyword, beside properties.
_NESTED: dict[str, Callable[[Any], Iterable[Any]]] = {
    **dict.fromkeys(("anyOf", "prefixItems"), lambda value: value),
    **dict.fromkeys(("items", "propertyNames"), lambda value: (value,)),
    "additionalProperties": lambda value: () if isinstance(value, bool) else (value,),
}


def check_kinds(given: Mapping[str, Any], kinds: Mapping[str, Any], subject: str) -> None:
    """Check the kind of each value, such as `str`.

    Raises:
        TypeError, ValueError: a value has another kind, or is infinite or not a number.
    """
    for key, value in given.items():
        kind = kinds.get(key)
        if kind is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise TypeError(f"{subject} {key:.80} must be {_KINDS[kind]}, got {type(value).__name__}")
        if kind == (int, float) and not math.isfinite(value):
            raise ValueError(f"{subject} {key:.80} must be finite, got {value}")


def check_schema(schema: Any, subject: str) -> None:
    """Check the schema of all parameters, and those within it.

    It takes a quarter of the time of listing: texts for messages are made where something is wrong.

    Raises:
        TypeError, ValueError: a value that readers of the schema cannot take.
    """
    _check(schema, subject, None, has_names=True)


def _check(schema: Any, subject: str, parameter: str | None, *, has_names: bool) -> None:
    """Check one schema.

    Args:
        parameter: the name of the innermost parameter that it describes.
        has_names: whether its properties become names in Python, as parameters do.
    """
    if not isinstance(schema, dict):
        check_kinds({"schema": schema}, {"schema": dict}, _where(subject, parameter))
    for key, value in schema.items():
        kind = _OF_SCHEMA.get(key)
        if kind is not None and value.__class__ is not kind:
            check_kinds({key: value}, _OF_SCHEMA, _where(subject, parameter))
        rule = _VALUES.get(key)
        if rule is not None and not rule[0](value):
            raise ValueError(f"{_where(subject, parameter)} {key} must be {rule[1]}, got {value!r:.80}")
        nested = _NESTED.get(key)
        if nested is not None:
            for part in nested(value):
                _check(part, subject, parameter, has_names=False)
    _check_properties(schema, subject, parameter, has_names=has_names or "$ref" in schema)
    if "functions" in schema:
        _check_functions(schema["functions"], _where(subject, parameter))


def _check_properties(schema: dict[str, Any], subject: str, parameter: str | None, *, has_names: bool) -> None:
    properties = schema.get("properties", {})
    for name, part in properties.items():
        if has_names and (not name.isidentifier() or iskeyword(name)):
            raise ValueError(f"parameter {name!r:.80} must have a name of Python that is no keyword; rename it")
        _check(part, subject, name, has_names=False)
    for name in schema.get("required", ()):
        if name not in properties:
            raise ValueError(f"{_where(subject, parameter)} required has {name!r:.80}, which is not in properties")


def _check_functions(functions: dict[str, Any], where: str) -> None:
    check_kinds(functions, dict.fromkeys(functions, str), f"{where}: function")
    for name, target in functions.items():
        if not _TARGET.fullmatch(target):
            raise ValueError(f'{where}: function {name:.80} must be "module:qualname", got {target!r:.80}')


def _where(subject: str, parameter: str | None) -> str:
    return subject if parameter is None else f"parameter {parameter!r:.80}"


def _is_pattern(text: str) -> bool:
    """Return whether a text is a regular expression. Its escapes may be of another engine than Python's."""
    try:
        re.compile(re.sub(r"\\.", "x", text))
    except re.error:
        return False
    return True
