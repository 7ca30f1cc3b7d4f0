"""The kind of a value that may be of one of several kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossreg.parameters.kind import JSON_TYPES, Change, CoreSchema, Kind, NestedType, Schema


class Union(Kind):
    """A value of one of several kinds.

    Where a member holds losses, parts, tensors or functions, `meant` alone decides which member a value is of: for
    validation, for building and for messages. Otherwise pydantic picks the member that needs no conversion.
    """

    nested_keywords = ("anyOf",)

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        super().__init__(schema, kind_of)
        self.members = self.listed("anyOf")
        self._labels = {f"|{number}": kind for number, kind in enumerate(self.members)}  # in pydantic's locations
        tried = sorted(self.members, key=lambda kind: not kind.lists_values)
        self._tried = [(kind, kind.json_types()) for kind in tried]

    def meant(self, value: Any) -> Kind | None:
        """Return the first member that takes a value, listed values before others; else the one of its JSON type."""
        types = JSON_TYPES.get(type(value), set())
        possible = [kind for kind, known in self._tried if not (known and types and types.isdisjoint(known))]
        if len(possible) == 1:  # most often: `Tensor | None`
            return possible[0]
        return next((kind for kind in possible if kind.takes(value)), None) or self._nearest(value)

    def _nearest(self, value: Any) -> Kind | None:
        return next((kind for kind in self.members if kind.resembles(value)), None)

    def _label(self, value: Any) -> str | None:
        meant = self.meant(value)
        return next((label for label, kind in self._labels.items() if kind is meant), None)

    def json_types(self) -> list[str]:
        """Return none: a union within a union has no rule by types."""
        return []

    def words(self) -> str:
        """Describe each member."""
        return " or ".join(kind.words() for kind in self.members)

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return a union."""
        return " | ".join(dict.fromkeys(kind.python_type(nested, name) for kind in self.members))

    def standard_schema(self) -> Schema:
        """Choose by if/then on the JSON type, where that decides; anyOf otherwise."""
        rest = {key: part for key, part in self.schema.items() if key != "anyOf"}
        written = [kind.standard_schema() for kind in self.members]
        types = [kind.json_types() for kind in self.members]
        every = [each for kind in types for each in kind]
        overlap = len(set(every)) < len(every) or {"number", "integer"} <= {*every}
        if overlap or not all(types):
            return rest | (self._first_that_takes() if self.has_slots else {"anyOf": written})
        rules = [
            {"if": {"type": each}, "then": part}
            for each, part in zip(types, written, strict=True)
            if part.keys() != {"type"}
        ]
        return rest | {"type": every} | ({"allOf": rules} if rules else {})

    def _first_that_takes(self) -> Schema:
        """Choose as `meant` does: a name that no loss has is no text for `nn.Module | str`."""
        *before, (last, _) = self._tried
        schema = last.standard_schema()
        for kind, _ in reversed(before):
            if kind.has_slots:
                schema = {"if": kind.shallow_schema(), "then": kind.standard_schema(), "else": schema}
            else:
                schema = {"anyOf": [kind.standard_schema(), schema]}
        return schema

    def validator(self) -> CoreSchema:
        """Validate by the member that is meant."""
        choices = {label: kind.validator() for label, kind in self._labels.items()}
        if self.has_slots:
            return {"type": "tagged-union", "choices": choices, "discriminator": self._label}
        if len(choices) == 1:  # pydantic would leave the label out
            return next(iter(choices.values()))
        return {"type": "union", "choices": [(schema, label) for label, schema in choices.items()]}

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Map by the member that is meant."""
        meant = self.meant(value) if self.has_slots else None
        return value if meant is None else meant.map(value, path, change)

    def locate(self, value: Any, path: str, steps: Sequence[int | str]) -> tuple[str, Kind, Any] | None:
        """Follow the member that is meant into the value; an error about the value itself is one of the union."""
        here = path, self, value
        member = self._labels.get(str(steps[0])) if steps else None
        meant = member if self.has_slots else self._nearest(value)  # with slots, pydantic reports that member alone
        if member is None or meant is None:
            return here
        if member is not meant:
            return None
        found = meant.locate(value, path, steps[1:])
        return here if found is not None and found[0] == path else found
