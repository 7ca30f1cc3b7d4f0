"""JSON Schema of annotations of plain data, by pydantic, in the form that the kinds read."""

from __future__ import annotations

from collections.abc import Callable
from enum import Flag
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, NoDefault

from lossreg.parameters.hints import for_pydantic, key_text
from lossreg.parameters.kind import Schema
from lossreg.parameters.kinds import kind_of
from lossreg.parameters.scalars import INTEGER, NUMBER

# Keywords that describe more than a check needs: the annotation itself makes the path, the date or the set.
_REMARKS = {"$defs", "title", "description", "format", "examples", "deprecated", "readOnly", "writeOnly"}
_REMARKS |= {"uniqueItems", "discriminator", "contentMediaType", "contentEncoding"}
_KEYS: dict[str, Schema] = {
    "integer": {"type": "string", "pattern": INTEGER},
    "number": {"type": "string", "pattern": NUMBER},
    "boolean": {"enum": ["true", "false"]},
}


class _Unfit(Exception):
    """No config can hold the values."""


class _Data(GenerateJsonSchema):
    """Leaves out the types that no plain data stands for."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def enum_schema(self, schema: Any) -> Schema:
        """Refuse flags, whose combinations have no value of their own, and members that are no plain data."""
        values = [member.value for member in schema["members"]]
        if issubclass(schema["cls"], Flag) or not all(isinstance(value, (str, int, float)) for value in values):
            return self.handle_invalid_for_json_schema(schema, "a flag")
        return super().enum_schema(schema | {"members": list(dict.fromkeys(schema["members"]))})  # aliases left out

    def literal_schema(self, schema: Any) -> Schema:
        """Refuse listed values that are no plain data, such as bytes."""
        if not all(value is None or isinstance(value, (str, int, float)) for value in schema["expected"]):
            return self.handle_invalid_for_json_schema(schema, "a value that JSON has not")
        return super().literal_schema(schema)

    def get_default_value(self, schema: Any) -> Any:
        """Return the default that a factory such as `list` makes; none if it makes another value each time."""
        factory = schema.get("default_factory")
        if factory is None or schema.get("default_factory_takes_data"):
            return super().get_default_value(schema)
        made = factory()
        return made if made == factory() else NoDefault

    def nullable_schema(self, schema: Any) -> Schema:
        """Write null alone where no data stands for the other member."""
        try:
            return super().nullable_schema(schema)
        except PydanticInvalidForJsonSchema:
            return {"type": "null"}

    def bytes_schema(self, schema: Any) -> Schema:
        """Refuse bytes, which text can stand for in several ways."""
        return self.handle_invalid_for_json_schema(schema, "bytes")

    def is_subclass_schema(self, schema: Any) -> Schema:
        """Refuse classes."""
        return self.handle_invalid_for_json_schema(schema, "a class")

    def decimal_schema(self, schema: Any) -> Schema:
        """Write a number, and no text beside it."""
        written = super().decimal_schema(schema)
        return written["anyOf"][0] if "anyOf" in written else written

    def dict_schema(self, schema: Any) -> Schema:
        """Write the keys as text, which all keys of a config are."""
        written = {key: part for key, part in super().dict_schema(schema).items() if key != "patternProperties"}
        values = schema.get("values_schema")
        if values:
            written["additionalProperties"] = self.generate_inner(values)
        return written | {"propertyNames": self.generate_inner(schema.get("keys_schema", {"type": "any"}))}


def plain_schema(hint: Any) -> Schema | None:
    """Return the JSON Schema of an annotation without slots; None if no config can hold its values."""
    try:
        adapter = TypeAdapter(for_pydantic(hint))
        if _imports(adapter.core_schema):
            return None
        written = adapter.json_schema(schema_generator=_Data)
        kind = kind_of(_inlined(written, written.get("$defs", {})))
        if not kind.is_complete():
            return None
        kind.takes(None)  # a pattern may be one that the validator does not know
    except Exception:  # noqa: BLE001 - pydantic has several errors for it, and a class may have its own
        return None
    return kind.to_schema()


def _imports(schema: Any) -> bool:
    """Return whether pydantic would import what the text names: no config may choose code."""
    if isinstance(schema, dict):
        return getattr(schema.get("function"), "__name__", "") == "import_string" or any(map(_imports, schema.values()))
    return isinstance(schema, (list, tuple)) and any(map(_imports, schema))


def _inlined(schema: Any, definitions: dict[str, Any], within: tuple[str, ...] = ()) -> Any:
    """Copy a schema with its definitions in their places."""
    if isinstance(schema, list):
        return [_inlined(part, definitions, within) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        if name in within:
            raise _Unfit(f"{name} holds itself")
        rest = {key: part for key, part in schema.items() if key != "$ref"}
        return _inlined(definitions[name] | rest, definitions, (*within, name))

    def inner(part: Any) -> Any:
        return _inlined(part, definitions, within)

    written = {_RENAMED.get(key, key): _part(key, part, inner) for key, part in schema.items() if key not in _REMARKS}
    if "properties" in written:
        written.setdefault("additionalProperties", False)
    if "propertyNames" in written:
        written["propertyNames"] = _key_schema(written["propertyNames"])
        if not written["propertyNames"]:
            del written["propertyNames"]
    return written


_RENAMED = {"oneOf": "anyOf"}


def _part(key: str, part: Any, inner: Callable[[Any], Any]) -> Any:
    if key in ("default", "enum", "const", "required"):
        return part
    return {name: inner(each) for name, each in part.items()} if key == "properties" else inner(part)


def _key_schema(schema: Schema) -> Schema:
    """Return the schema of keys as text."""
    if "enum" in schema or "const" in schema:
        return {"enum": [key_text(value) for value in schema.get("enum", [schema.get("const")])]}
    if schema.get("type") in _KEYS:
        return dict(_KEYS[schema["type"]])
    if schema.get("type", "string") != "string" or "anyOf" in schema:
        raise _Unfit("keys that are no text")
    bounds = {key: part for key, part in schema.items() if key != "type"}
    return {"type": "string", **bounds} if bounds else {}
