"""Check of the JSON Schema of parameters, as a manifest has it, so that every reader can take it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
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


def check_schema(schema: Any, where: str, *, has_names: bool = True) -> None:
    """Check a schema and those within it.

    Args:
        where: what it describes, for messages.
        has_names: whether its properties become names in Python, as parameters do.
    Raises:
        TypeError, ValueError: a value that readers of the schema cannot take.
    """
    check_kinds({"schema": schema}, {"schema": dict}, where)
    check_kinds(schema, _OF_SCHEMA, where)
    for key, (is_right, expected) in _VALUES.items():
        if key in schema and not is_right(schema[key]):
            raise ValueError(f"{where} {key} must be {expected}, got {schema[key]!r:.80}")
    for name in schema.get("properties", {}) if has_names or "$ref" in schema else ():
        if not name.isidentifier() or iskeyword(name):
            raise ValueError(f"parameter {name!r:.80} must have a name of Python that is no keyword; rename it")
    absent = [name for name in schema.get("required", ()) if name not in schema.get("properties", {})]
    if absent:
        raise ValueError(f"{where} required has {absent[0]!r:.80}, which is not in properties")
    for inner, part in _parts(schema, where):
        check_schema(part, inner, has_names=False)
    functions = schema.get("functions", {})
    check_kinds(functions, dict.fromkeys(functions, str), f"{where}: function")
    for name, target in functions.items():
        if not _TARGET.fullmatch(target):
            raise ValueError(f'{where}: function {name:.80} must be "module:qualname", got {target!r:.80}')


def _parts(schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """Yield the schemas within a schema, with what each describes."""
    for name, part in schema.get("properties", {}).items():
        yield f"parameter {name!r:.80}", part
    for key in ("anyOf", "prefixItems"):
        for part in schema.get(key, ()):
            yield where, part
    for key in ("items", "propertyNames"):
        if key in schema:
            yield where, schema[key]
    if not isinstance(schema.get("additionalProperties", False), bool):
        yield where, schema["additionalProperties"]


def _is_pattern(text: str) -> bool:
    """Return whether a text is a regular expression. Its escapes may be of another engine than Python's."""
    try:
        re.compile(re.sub(r"\\.", "x", text))
    except re.error:
        return False
    return True
