"""Kinds of single values: numbers, text, true or false, null, listed values, and anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from lossreg.parameters.kind import CoreSchema, Kind, NestedType, length_words, without_none

_BOUNDS = {  # keyword: option of pydantic_core, words
    "minimum": ("ge", ">="),
    "exclusiveMinimum": ("gt", ">"),
    "maximum": ("le", "<="),
    "exclusiveMaximum": ("lt", "<"),
    "multipleOf": ("multiple_of", "multiple of"),
}

# Patterns of keys that are numbers: a config has text for keys.
INTEGER = "^(0|-?[1-9][0-9]*)$"
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"
_PATTERNS = {INTEGER: "an integer as text", NUMBER: "a number as text"}


class _Scalar(Kind):
    """A kind that one type describes, in each language."""

    json_type: ClassVar[str]
    noun: ClassVar[str]
    python: ClassVar[str]
    core: ClassVar[CoreSchema]

    def json_types(self) -> list[str]:
        """Return its only type."""
        return [self.json_type]

    def words(self) -> str:
        """Return the noun."""
        return self.noun

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return the built-in type."""
        return self.python

    def validator(self) -> CoreSchema:
        """Return the schema of the type alone."""
        return self.core


class _Numeric(_Scalar):
    """A number with bounds."""

    keywords = frozenset(_BOUNDS)

    def words(self) -> str:
        """Describe the bounds after the noun."""
        bounds = [f"{sign} {self.schema[key]:g}" for key, (_, sign) in _BOUNDS.items() if key in self.schema]
        return " ".join([self.noun, " and ".join(bounds)]).strip()

    def validator(self) -> CoreSchema:
        """Add the bounds."""
        bounds = {option: self.schema[key] for key, (option, _) in _BOUNDS.items() if key in self.schema}
        return {**self.core, **bounds}


class Number(_Numeric):
    """A finite float; integers are converted."""

    json_type, noun, python = "number", "a number", "float"
    core: ClassVar[CoreSchema] = {"type": "float", "allow_inf_nan": False}


class Integer(_Numeric):
    """An int, and no bool."""

    json_type, noun, python = "integer", "an integer", "int"
    core: ClassVar[CoreSchema] = {"type": "int"}


class Boolean(_Scalar):
    """True or false."""

    json_type, noun, python = "boolean", "true or false", "bool"
    core: ClassVar[CoreSchema] = {"type": "bool"}


class Null(_Scalar):
    """None."""

    json_type, noun, python = "null", "null", "None"
    core: ClassVar[CoreSchema] = {"type": "none"}


class Text(_Scalar):
    """A str, with bounds of its length or a pattern."""

    keywords = frozenset({"minLength", "maxLength", "pattern"})
    json_type, noun, python = "string", "text", "str"
    core: ClassVar[CoreSchema] = {"type": "str"}

    def words(self) -> str:
        """Describe length and pattern after the noun."""
        pattern = self.schema.get("pattern")
        if pattern in _PATTERNS:
            return _PATTERNS[pattern]
        return self.noun + length_words(self.schema, "Length") + (f" that matches {pattern}" if pattern else "")

    def validator(self) -> CoreSchema:
        """Add pattern and length."""
        length = {"min_length": self.schema.get("minLength"), "max_length": self.schema.get("maxLength")}
        return self.core | without_none(pattern=self.schema.get("pattern"), **length)


class Anything(Kind):
    """Any plain value: of a parameter without annotation whose default is None."""

    def json_types(self) -> list[str]:
        """Return none: every type is possible."""
        return []

    def words(self) -> str:
        """Return "any value"."""
        return "any value"

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return object."""
        return "object"

    def validator(self) -> CoreSchema:
        """Accept any value.

        Raises:
            ValueError: the schema has a type that no kind has.
        """
        if "type" in self.schema:
            raise ValueError(f"unknown type {self.schema['type']!r:.80}")
        return {"type": "any"}


class Literal(Kind):
    """One of some listed values."""

    keywords = frozenset({"enum", "const"})
    lists_values = True

    @property
    def values(self) -> list[Any]:
        """Return the values."""
        return list(self.schema.get("enum", [self.schema.get("const")]))

    def json_types(self) -> list[str]:
        """Return the type of a constant, and that of text."""
        if "enum" in self.schema:
            return ["string"] if all(isinstance(value, str) for value in self.values) else []
        kind = self.schema.get("type")
        return [kind] if isinstance(kind, str) else []

    def words(self) -> str:
        """List the values."""
        if "enum" in self.schema:
            return "one of " + ", ".join(map(repr, self.values))
        return repr(self.schema.get("const"))

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return a Literal."""
        return literal_type(self.values)

    def validator(self) -> CoreSchema:
        """Compare types as well: 1 == True == 1.0, but Literal[1] means the int."""
        values = self.values
        if not any(isinstance(value, (int, float)) for value in values):
            return {"type": "literal", "expected": values}

        def check(given: Any) -> Any:
            if not any(type(value) is type(given) and value == given for value in values):
                raise ValueError("none of the values")
            return given

        return function(check)


def function(check: Any) -> CoreSchema:
    """Return the core schema of a function that returns the value or raises ValueError."""
    return {"type": "function-plain", "function": {"type": "no-info", "function": check}}


def literal_type(values: Iterable[Any]) -> str:
    """Write the type of some values for a stub. Literal has no floats, and needs at least one value."""
    given = list(values)
    plain = dict.fromkeys(repr(value) for value in given if not isinstance(value, float))
    types = [f"Literal[{', '.join(plain)}]"] * bool(plain)
    types += ["float"] * any(isinstance(value, float) for value in given)
    return " | ".join(types) or "Never"
