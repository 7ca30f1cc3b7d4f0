"""The strict pydantic model of a loss's parameters, made from the JSON Schema that describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, Strict, create_model

from lossreg.errors import ManifestError
from lossreg.parameters import Schema

_BOUNDS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}

_models: dict[int, tuple[Schema, type[BaseModel]]] = {}


def model(schema: Schema) -> type[BaseModel]:
    """The strict model of these parameters. Cached for as long as the process lives, as manifests are."""
    cached = _models.get(id(schema))
    if cached is None:
        required = schema.get("required", ())
        config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, protected_namespaces=())
        try:
            fields: dict[str, Any] = {
                # The alias lets a parameter be called `schema` or `copy`, which a model defines itself.
                f"p{index}": (_annotation(sub), Field(... if name in required else None, alias=name))
                for index, (name, sub) in enumerate(schema["properties"].items())
            }
            cached = (schema, create_model("Parameters", __config__=config, **fields))
        except Exception as error:  # a schema that no `describe` wrote can fail anywhere in pydantic
            raise ManifestError(f"the schema of the parameters cannot be read: {error}", source="parameters") from error
        _models[id(schema)] = cached
    return cached[1]


def _annotation(schema: Schema) -> Any:
    """The type that validates a schema made by `describe`."""
    if "$ref" in schema:
        return Any  # validated by its own entry
    if "anyOf" in schema:
        # Beside other members a nested config must be told from what none of them takes.
        members = [str | dict[str, Any] if "$ref" in part else _annotation(part) for part in schema["anyOf"]]
        return Union[tuple(members)]  # noqa: UP007 - the members are computed
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    if "const" in schema:
        return Literal[schema["const"]]
    kind = schema.get("type")
    bounds = {_BOUNDS[key]: value for key, value in schema.items() if key in _BOUNDS}
    if kind == "number":
        return Annotated[float, Field(allow_inf_nan=False, **bounds)]
    if kind == "integer":
        return Annotated[int, Field(**bounds)]
    if kind == "string":
        lengths: dict[str, Any] = {"min_length": schema.get("minLength"), "max_length": schema.get("maxLength")}
        return Annotated[str, Field(pattern=schema.get("pattern"), **lengths)]
    if kind == "array":
        lengths = {"min_length": schema.get("minItems"), "max_length": schema.get("maxItems")}
        if "prefixItems" in schema:
            # Strict mode wants a tuple where a file can only give a list.
            parts = tuple(_annotation(part) for part in schema["prefixItems"])
            return Annotated[tuple[parts], Strict(False)]  # type: ignore[valid-type]
        return Annotated[list[_annotation(schema.get("items", {}))], Field(**lengths)]  # type: ignore[misc]
    if kind == "object":
        values = schema.get("additionalProperties")
        return dict[str, _annotation(values) if isinstance(values, dict) else Any]  # type: ignore[misc]
    return {"boolean": bool, "null": None}.get(kind or "", Any)
