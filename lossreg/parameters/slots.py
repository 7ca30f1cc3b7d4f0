"""Kinds of values that a config holds by name or number: losses, parts, tensors and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lossreg.parameters.kind import Change, CoreSchema, Kind, NestedType, Schema
from lossreg.parameters.record import Record
from lossreg.parameters.scalars import Literal, function
from lossreg.parameters.types import FUNCTIONS, LOSS, reference, role_of

KEYS = ("name", "params", "provider", "version")  # of every config
OPEN = "/$defs/open"  # of a published definition: without the check that no other keys are present


class Nested:
    """A nested config after its name was resolved. A slot accepts it as it does text and mappings."""


class Slot(Kind):
    """A nested config of a loss or part, with the keys that may be beside its name and params."""

    keywords = frozenset({"$ref", "properties", "required"})

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        super().__init__(schema, kind_of)
        self.has_slots = True
        self.role: str = role_of(schema) or LOSS
        self.siblings = Record(schema, kind_of)
        self.is_record = "properties" in schema  # of a TypedDict: the constructor receives {"loss": module, ...}

    def json_types(self) -> list[str]:
        """Return the types of a name and of a mapping."""
        return ["string", "object"]

    def words(self) -> str:
        """Describe both forms of a config."""
        return f"a {self.role}: its name or {{" + ", ".join(["name", "params", *self.siblings.fields]) + "}"

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return the type that `nested` writes."""
        return nested(self, name)

    def standard_schema(self) -> Schema:
        """Forbid other keys where some are allowed beside name and params."""
        if not self.is_record:
            return dict(self.schema)
        rest = {key: part for key, part in self.schema.items() if key not in ("$ref", "properties")}
        # A bare name has no place for the keys that its slot requires.
        named = {"type": "object"} if self.siblings.required else {}
        return rest | named | closed(self.role, self.siblings)

    def shallow_schema(self) -> Schema:
        """Accept every config."""
        return {"type": self.json_types()}

    def validator(self) -> CoreSchema:
        """Accept every config; its own entry validates it."""
        return {"type": "is-instance", "cls": (str, dict, Nested)}

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Change the config."""
        return change(self, value, path) if isinstance(value, (str, dict)) else value


def closed(role: str, siblings: Record | None = None) -> Schema:
    """Return the published schema of a config that has no keys but its own and those of its slot."""
    beside = siblings.fields if siblings else {}
    keys = {**dict.fromkeys(KEYS, True), **{key: kind.standard_schema() for key, kind in beside.items()}}
    return {"allOf": [reference(role + OPEN)], "properties": keys, "additionalProperties": False}


class Tensor(Kind):
    """A number, or nested lists of numbers with equal lengths."""

    keywords = frozenset({"$ref"})

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        super().__init__(schema, kind_of)
        self.has_slots = True

    def json_types(self) -> list[str]:
        """Return the types of a scalar and of others."""
        return ["number", "array"]

    def words(self) -> str:
        """Describe both forms."""
        return "a number or lists of numbers, nested ones of equal length"

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return the name of the type that a stub declares."""
        return "Numbers"

    def validator(self) -> CoreSchema:
        """Check that the lists have a shape."""
        return function(_numbers)

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Change the numbers."""
        return change(self, value, path)


class FunctionName(Literal):
    """The name of a function; the constructor receives the function. `targets`: "module:qualname" by name."""

    keywords = Literal.keywords | {FUNCTIONS}

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        super().__init__(schema, kind_of)
        self.has_slots = True
        self.targets: dict[str, str] = schema[FUNCTIONS]

    def standard_schema(self) -> Schema:
        """Leave the targets out."""
        return {key: part for key, part in self.schema.items() if key != FUNCTIONS}

    def shallow_schema(self) -> Schema:
        """Return the published schema."""
        return self.standard_schema()

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Change the name."""
        return change(self, value, path) if isinstance(value, str) else value


def _numbers(value: Any) -> Any:
    _shape(value)
    return value


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return ()
    if not isinstance(value, list):
        raise ValueError("no number")
    shapes = {_shape(item) for item in value}
    if len(shapes) > 1:
        raise ValueError("rows of several lengths")
    return (len(value), *next(iter(shapes), ()))
