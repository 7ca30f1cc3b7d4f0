"""Records: named parameters, of a constructor or beside the name in a slot."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lossreg.errors import ManifestError
from lossreg.parameters.kind import STRICT, Kind, Schema, compiled

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator


class Record:
    """Named parameters: the kind of each, the required ones, the defaults."""

    def __init__(self, schema: Schema, kind_of: Callable[[Schema], Kind]) -> None:
        self.schema = schema
        properties = schema.get("properties", {})
        self.fields: dict[str, Kind] = {name: kind_of(part) for name, part in properties.items()}
        self.required: tuple[str, ...] = tuple(schema.get("required", ()))
        self.slots = {name: kind for name, kind in self.fields.items() if kind.has_slots}

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        """Return the defaults as the check would return them: `float = 1` is 1.0 at each build."""
        properties = self.schema.get("properties", {})
        return {
            name: kind.checked(properties[name]["default"])
            for name, kind in self.fields.items()
            if "default" in properties[name]
        }

    def defaults(self) -> dict[str, Any]:
        """Copy the defaults, so that changing a result never changes the default."""
        return {name: deepcopy(value) for name, value in self._defaults.items()}

    def standard_schema(self) -> Schema:
        """Return the schema as other tools read it."""
        properties = {name: kind.standard_schema() for name, kind in self.fields.items()}
        return {key: properties if key == "properties" else part for key, part in self.schema.items()}

    def check(self, values: dict[str, Any]) -> dict[str, Any]:
        """Validate named values strictly.

        Returns:
            The values, with integers converted where floats are meant.
        Raises:
            pydantic_core.ValidationError: an unknown name, a missing one, or a value of another kind.
        """
        checked: dict[str, Any] = self._compiled.validate_python(values)
        return checked

    @cached_property
    def _compiled(self) -> SchemaValidator:
        try:
            fields = {
                name: {"type": "typed-dict-field", "schema": kind.validator(), "required": name in self.required}
                for name, kind in self.fields.items()
            }
            return compiled({"type": "typed-dict", "fields": fields, "extra_behavior": "forbid", "config": STRICT})
        except Exception as error:  # a malformed schema can fail anywhere in pydantic
            raise unreadable(error) from error


def unreadable(error: Exception) -> ManifestError:
    """Return the error for a schema that `describe` did not write."""
    return ManifestError(f"the schema of the parameters cannot be read: {error}", source="parameters")
