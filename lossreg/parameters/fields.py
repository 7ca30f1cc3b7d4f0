"""Mappings with named values of different kinds: dataclasses, TypedDicts and models of pydantic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossreg.messages import did_you_mean, join
from lossreg.parameters.kind import STRICT, Change, CoreSchema, Kind, NestedType, Schema
from lossreg.parameters.record import Record


class Fields(Kind):
    """A mapping with the kind of each key. A missing key has its default, where that is plain data."""

    keywords = frozenset({"properties", "required", "additionalProperties"})

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        self.record = Record(schema, kind_of)
        super().__init__(schema, kind_of)
        self.has_others = schema.get("additionalProperties", False) is not False

    def inner(self) -> list[Kind]:
        """Return the kinds of the values."""
        return list(self.record.fields.values())

    def _rewritten(self, write: Callable[[Kind], Schema]) -> Schema:
        """Write each key, with its default."""
        properties = {name: write(kind) for name, kind in self.record.fields.items()}
        for name, default in self.record.defaults().items():
            properties[name]["default"] = default
        return {**self.schema, "properties": properties}

    def json_types(self) -> list[str]:
        """Return the type of mappings."""
        return ["object"]

    def words(self) -> str:
        """List the keys."""
        return f"a mapping {{{', '.join(self.record.fields)}}}"

    def python_type(self, nested: NestedType, name: str) -> str:
        """Return a Mapping to the types of all values."""
        types = dict.fromkeys(kind.python_type(nested, f"{name}{key}") for key, kind in self.record.fields.items())
        return f"Mapping[str, {'object' if self.has_others else ' | '.join(types) or 'Never'}]"

    def validator(self) -> CoreSchema:
        """Validate each value, and add the defaults."""
        defaults, fields = self.record.defaults(), {}
        for name, kind in self.record.fields.items():
            schema = kind.validator()
            if name in defaults and not kind.has_slots:
                schema = {"type": "default", "schema": schema, "default": defaults[name], "copy_default": True}
            fields[name] = {"type": "typed-dict-field", "schema": schema, "required": name in self.record.required}
        extra = "allow" if self.has_others else "forbid"
        return {"type": "typed-dict", "fields": fields, "extra_behavior": extra, "config": STRICT}

    def map(self, value: Any, path: str, change: Change) -> Any:
        """Map the value of each key with slots."""
        if not self.has_slots or not isinstance(value, dict):
            return value
        slots = self.record.slots
        return {
            key: slots[key].map(item, join(path, key), change) if key in slots else item for key, item in value.items()
        }

    def resembles(self, value: Any) -> bool:
        """Return whether the keys of one value fit, such as `kind` in `{kind: dog, ...}`."""
        tags = {key: kind for key, kind in self.record.fields.items() if "const" in kind.schema}
        return isinstance(value, dict) and all(kind.takes(value[key]) for key, kind in tags.items() if key in value)

    def child(self, step: int | str) -> Kind | None:
        """Return the kind of one key."""
        return self.record.fields.get(str(step))

    def locate(self, value: Any, path: str, steps: Sequence[int | str]) -> tuple[str, Kind, Any] | None:
        """Follow the location; a key may be unknown, or missing."""
        if steps and isinstance(value, dict):
            key, kind = str(steps[0]), self.child(steps[0])
            if kind is None and key in value:
                return join(path, key), _Unknown(key, list(self.record.fields)), value[key]
            if kind is not None and key not in value:
                return join(path, key), _Missing(kind), None
        return super().locate(value, path, steps)


class _Unknown(Kind):
    """A key that should not be there."""

    def __init__(self, key: str, allowed: list[str]) -> None:
        near = did_you_mean(key, allowed, otherwise=f"allowed are {', '.join(allowed) or 'none'}")
        self.text = f"unknown key; {near}"

    def refusal(self, value: Any) -> str:
        """Name a similar key."""
        return self.text

    def takes(self, value: Any) -> bool:
        """Return that no value is valid here."""
        return False


class _Missing(_Unknown):
    """A key that should be there."""

    def __init__(self, kind: Kind) -> None:
        self.text = f"missing; expected {kind.words()}"
