"""Kinds that hold other kinds: lists, tuples and mappings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossreg.messages import join
from lossreg.parameters.kind import Change, CoreSchema, Kind, NestedType, Schema, length_words, without_none


class List(Kind):
    """A list whose values are of one kind."""

    keywords = frozenset({"minItems", "maxItems"})
    nested_keywords = ("items",)

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        super().__init__(schema, kind_of)
        items = self.parts.get("items")
        self.items: Kind = items if isinstance(items, Kind) else kind_of({})

    def json_types(self) -> list[str]:
        """Return the type of lists."""
        return ["array"]

    def words(self) -> str:
        """Describe length and values."""
        each = f", each {self.items.words()}" if self.schema.get("items") else ""
        return "a list" + length_words(self.schema, "Items") + each

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return a Sequence."""
        return f"Sequence[{self.items.python_type(nested, name)}]"

    def validator(self) -> CoreSchema:
        """Validate each value, and the length."""
        length = without_none(min_length=self.schema.get("minItems"), max_length=self.schema.get("maxItems"))
        return {"type": "list", "items_schema": self.items.validator(), **length}

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Map each value."""
        if not self.has_slots or not isinstance(value, list):
            return value
        return [self.items.map(item, join(path, index), change) for index, item in enumerate(value)]

    def child(self, step: int | str) -> Kind | None:
        """Return the kind of all values."""
        return self.items if isinstance(step, int) else None


class Tuple(Kind):
    """A list of fixed length, with a kind for each place."""

    keywords = frozenset({"minItems", "maxItems"})
    nested_keywords = ("prefixItems",)

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        super().__init__(schema, kind_of)
        self.places = self.listed("prefixItems")

    def json_types(self) -> list[str]:
        """Return the type of lists."""
        return ["array"]

    def words(self) -> str:
        """Describe each place, and which are optional."""
        needed = self._needed()
        words = [kind.words() + " if any" * (place >= needed) for place, kind in enumerate(self.places)]
        return "a list of " + ", then ".join(words)

    def _needed(self) -> int:
        """Return the number of places that have no default."""
        return int(self.schema.get("minItems", len(self.places)))

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return a Sequence: a config holds a list, which no tuple type accepts."""
        types = dict.fromkeys(kind.python_type(nested, name) for kind in self.places)
        return f"Sequence[{' | '.join(types) or 'Never'}]"

    def validator(self) -> CoreSchema:
        """Validate each place. Not strict about the type itself: a file has lists and no tuples."""
        places = [kind.validator() for kind in self.places]
        for place in range(self._needed(), len(places)):
            places[place] = {"type": "default", "schema": places[place], "default": _ABSENT}
        schema = {"type": "tuple", "items_schema": places, "strict": False}
        return {"type": "function-after", "schema": schema, "function": {"type": "no-info", "function": _present}}

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Map the value at each place."""
        if not self.has_slots or not isinstance(value, list):
            return value
        pairs = enumerate(zip(self.places, value, strict=False))  # of another length before it is validated
        mapped = [kind.map(item, join(path, index), change) for index, (kind, item) in pairs]
        return mapped + value[len(mapped) :]

    def child(self, step: int | str) -> Kind | None:
        """Return the kind of one place."""
        return self.places[step] if isinstance(step, int) and step < len(self.places) else None


_ABSENT = object()  # at a place with a default, which the constructor has


def _present(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not _ABSENT]


class Dict(Kind):
    """A mapping from text to values of one kind. Its keys may be of one kind as well, such as numbers as text."""

    keywords = frozenset({"minProperties", "maxProperties"})
    nested_keywords = ("additionalProperties", "propertyNames")

    @property
    def keys(self) -> Kind | None:
        """Return the kind of the keys; None if any text is one."""
        held = self.parts.get("propertyNames")
        return held if isinstance(held, Kind) else None

    @property
    def values(self) -> Kind | None:
        """Return the kind of the values; None if they are not described."""
        held = self.parts.get("additionalProperties")
        return held if isinstance(held, Kind) else None

    def json_types(self) -> list[str]:
        """Return the type of mappings."""
        return ["object"]

    def words(self) -> str:
        """Describe length, keys and values."""
        keys = f" from {self.keys.words()}" if self.keys else ""
        values = f" to {self.values.words()}" if self.values else ""
        return "a mapping" + length_words(self.schema, "Properties") + keys + values

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return a Mapping. Keys that are text of a kind may be numbers in Python."""
        values = self.values.python_type(nested, name) if self.values else "object"
        return " | ".join(f"Mapping[{key}, {values}]" for key in (("str", "int") if self.keys else ("str",)))

    def validator(self) -> CoreSchema:
        """Validate each key and value."""
        values = {"values_schema": self.values.validator()} if self.values else {}
        keys = self.keys.validator() if self.keys else {"type": "str"}
        length = without_none(min_length=self.schema.get("minProperties"), max_length=self.schema.get("maxProperties"))
        return {"type": "dict", "keys_schema": keys, **values, **length}

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Map each value."""
        if not self.has_slots or self.values is None or not isinstance(value, dict):
            return value
        return {key: self.values.map(item, join(path, key), change) for key, item in value.items()}

    def child(self, step: int | str) -> Kind | None:
        """Return the kind of all values."""
        return self.values if isinstance(step, str) else None

    def locate(self, value: Any, path: str, steps: Sequence[int | str]) -> tuple[str, Kind, Any] | None:
        """Follow the location; an error of a key is at the key."""
        if steps[1:2] == ("[key]",) and self.keys:
            return join(path, steps[0]), self.keys, steps[0]
        return super().locate(value, path, steps)
