"""The base class of all kinds of parameters: what a constructor may take, stored as JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from lossreg.messages import join, shown

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

Schema: TypeAlias = dict[str, Any]
CoreSchema: TypeAlias = dict[str, Any]  # of pydantic_core: plain dicts, so that nothing is imported to write them
Change: TypeAlias = Callable[["Kind", Any, str], Any]  # of the kind, the value and its path
NestedType: TypeAlias = Callable[[Any, str], str]  # of a slot and the name for a class of its own

ANNOTATIONS = frozenset({"title", "description", "default"})  # keywords that every kind may have
STRICT: dict[str, Any] = {"strict": True, "hide_input_in_errors": True}

# Of plain values by their Python types. An integer is a number as well.
JSON_TYPES: dict[type, set[str]] = {
    bool: {"boolean"},
    int: {"integer", "number"},
    float: {"number"},
    str: {"string"},
    list: {"array"},
    dict: {"object"},
    type(None): {"null"},
}


def compiled(schema: CoreSchema, config: dict[str, Any] | None = None) -> SchemaValidator:
    """Compile a schema of pydantic's core.

    Raises:
        pydantic_core.SchemaError: the schema is malformed.
    """
    # The core alone: pydantic's models take four times as long to import, most of the time of `lossreg validate`.
    from pydantic_core import SchemaError, SchemaValidator

    given: Any = (schema, config)
    try:
        return SchemaValidator(*given)
    except SchemaError as error:
        if str(error).rstrip().endswith("KeyboardInterrupt:"):  # the core makes a text of Ctrl-C
            raise KeyboardInterrupt from error
        raise


class Kind:
    """One kind of parameter, read from its schema and never changed.

    A new kind is a subclass and a line in the table of `kinds.py`. `keywords` are those that the kind interprets.
    `nested_keywords` hold schemas of further kinds, which are read into `parts`.
    """

    keywords: ClassVar[frozenset[str]] = frozenset()
    nested_keywords: ClassVar[tuple[str, ...]] = ()
    lists_values: ClassVar[bool] = False  # tried first in a union: `Literal["auto"] | nn.Module`

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        self.schema = schema
        self.parts: dict[str, Kind | list[Kind]] = {}
        for key in self.nested_keywords:
            held = schema.get(key)
            if isinstance(held, list):
                self.parts[key] = [kind_of(part) for part in held]
            elif held is not None and not isinstance(held, bool):
                self.parts[key] = kind_of(held)
        self.has_slots: bool = any(kind.has_slots for kind in self.inner())  # whether `map` changes anything

    def inner(self) -> list[Kind]:
        """Return the kinds that this one holds."""
        return [kind for held in self.parts.values() for kind in (held if isinstance(held, list) else [held])]

    def listed(self, key: str) -> list[Kind]:
        """Return the kinds in the list of a keyword."""
        held = self.parts.get(key, [])
        return held if isinstance(held, list) else [held]

    def is_complete(self) -> bool:
        """Return whether the kinds interpret every keyword of the schema."""
        known = {"type", *self.keywords, *self.nested_keywords, *ANNOTATIONS}
        return self.schema.keys() <= known and all(kind.is_complete() for kind in self.inner())

    def to_schema(self) -> Schema:
        """Return the stored form: the schema without annotations."""
        written = self._rewritten(lambda kind: kind.to_schema())
        return {key: part for key, part in written.items() if key not in ANNOTATIONS}

    def standard_schema(self) -> Schema:
        """Return the schema as other tools read it, annotations included."""
        return self._rewritten(lambda kind: kind.standard_schema())

    def shallow_schema(self) -> Schema:
        """Return the schema of the values that `takes` accepts, as other tools read it: any config fits a slot."""
        return self._rewritten(lambda kind: kind.shallow_schema())

    def _rewritten(self, write: Callable[[Kind], Schema]) -> Schema:
        """Copy the schema, with the kinds in it written by `write`."""
        written = dict(self.schema)
        for key, held in self.parts.items():
            written[key] = [write(kind) for kind in held] if isinstance(held, list) else write(held)
        return written

    def json_types(self) -> list[str]:
        """Return the JSON types of the values; none if any type is possible."""
        raise NotImplementedError

    def words(self) -> str:
        """Describe the values for a message: `a number >= 0`, `text or null`."""
        raise NotImplementedError

    def refusal(self, value: Any) -> str:
        """Say why a value is not valid."""
        return f"expected {self.words()}, got {shown(value)}"

    def python_type(self, nested: NestedType, name: str) -> str:
        """Write the type for a stub.

        Args:
            nested: writes the type of a slot.
            name: of the class that a slot may need for itself.
        """
        raise NotImplementedError

    def validator(self) -> CoreSchema:
        """Return the schema of pydantic_core that validates a value."""
        raise NotImplementedError

    @cached_property
    def _compiled(self) -> SchemaValidator:
        return compiled(self.validator(), STRICT)

    def takes(self, value: Any) -> bool:
        """Return whether a value is valid."""
        return self._compiled.isinstance_python(value)

    def resembles(self, value: Any) -> bool:
        """Return whether a value that is not valid may be meant for this kind: its JSON type fits."""
        types = JSON_TYPES.get(type(value), set())
        return not types.isdisjoint(self.json_types())

    def checked(self, value: Any) -> Any:
        """Return a value with integers converted where floats are meant. One that is not valid stays as it is."""
        if self.has_slots or value is None or isinstance(value, (bool, float, str)) or not self.takes(value):
            return value
        return self._compiled.validate_python(value)

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Replace each nested loss, part, tensor and function in a value by `change(its kind, value, path)`."""
        return value

    def child(self, step: int | str) -> Kind | None:
        """Return the kind of the values at an index or key; None if there are none."""
        return None

    def locate(self, value: Any, path: str, steps: Sequence[int | str]) -> tuple[str, Kind, Any] | None:
        """Follow the location of pydantic's error, as far as value and kinds go.

        Returns:
            The path, kind and value there. None for an error about a member of a union that was not meant.
        """
        inner = self.child(steps[0]) if steps else None
        if inner is None or not _has(value, steps[0]):
            return path, self, value
        return inner.locate(value[steps[0]], join(path, steps[0]), steps[1:])


def _has(value: Any, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def length_words(schema: Schema, unit: str) -> str:
    """Describe the bounds of a length. `unit`: "Items" or "Length", as the keywords end."""
    least, most = schema.get(f"min{unit}"), schema.get(f"max{unit}")
    parts = [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
    return " of " + " and ".join(parts) + (" characters" if unit == "Length" else "") if parts else ""


def without_none(**options: Any) -> dict[str, Any]:
    """Return the options that have a value."""
    return {key: value for key, value in options.items() if value is not None}
