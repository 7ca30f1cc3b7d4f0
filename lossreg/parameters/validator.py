"""The strict validator of a loss's parameters, made from the JSON Schema that describes them.

pydantic's core alone: its models take four times as long to import, which is most of what `lossreg validate` may take.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as core

from lossreg.errors import ManifestError
from lossreg.parameters.types import TENSOR, role_of

_BOUNDS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}

Schema = dict[str, Any]

_models: dict[int, tuple[Schema, SchemaValidator]] = {}


def model(schema: Schema) -> SchemaValidator:
    """The validator of these parameters. Cached for as long as the process lives, as manifests are."""
    cached = _models.get(id(schema))
    if cached is None:
        required = schema.get("required", ())
        config = core.CoreConfig(strict=True, hide_input_in_errors=True)
        try:
            fields = {
                name: core.typed_dict_field(_validator(sub), required=name in required)
                for name, sub in schema["properties"].items()
            }
            cached = (schema, SchemaValidator(core.typed_dict_schema(fields, extra_behavior="forbid", config=config)))
        except Exception as error:  # a schema that no `describe` wrote can fail anywhere in pydantic
            raise ManifestError(f"the schema of the parameters cannot be read: {error}", source="parameters") from error
        _models[id(schema)] = cached
    return cached[1]


def _validator(schema: Schema) -> core.CoreSchema:
    """What validates a schema made by `describe`."""
    role = role_of(schema)
    if role is not None:
        # A nested config is validated by its own entry.
        return core.no_info_plain_validator_function(_numbers) if role == TENSOR else core.any_schema()
    if "anyOf" in schema:
        return core.union_schema([_member(part) for part in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return _literal(schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    bounds = {_BOUNDS[key]: value for key, value in schema.items() if key in _BOUNDS}
    if kind == "number":
        return core.float_schema(allow_inf_nan=False, **bounds)
    if kind == "integer":
        return core.int_schema(**bounds)
    if kind == "string":
        return core.str_schema(
            pattern=schema.get("pattern"), min_length=schema.get("minLength"), max_length=schema.get("maxLength")
        )
    if kind == "array":
        return _list(schema)
    if kind == "object":
        values = schema.get("additionalProperties")
        return core.dict_schema(core.str_schema(), _validator(values) if isinstance(values, dict) else None)
    if kind == "boolean":
        return core.bool_schema()
    if kind == "null":
        return core.none_schema()
    if kind is not None:
        raise ValueError(f"unknown type {kind!r:.80}")
    return core.any_schema()


def _literal(values: list[Any]) -> core.CoreSchema:
    if not any(isinstance(value, (int, float)) for value in values):
        return core.literal_schema(values)

    def check(given: Any) -> Any:  # 1 == True == 1.0, of which a list of modes means one
        if not any(type(value) is type(given) and value == given for value in values):
            raise ValueError("none of the values")
        return given

    return core.no_info_plain_validator_function(check)


def _member(part: Schema) -> core.CoreSchema:
    """Beside other members a nested config must be told from what none of them takes."""
    if role_of(part) in (None, TENSOR):
        return _validator(part)
    return core.union_schema([core.str_schema(), core.dict_schema(core.str_schema())])


def _list(schema: Schema) -> core.CoreSchema:
    if "prefixItems" in schema:
        # Strict mode wants a tuple where a file can only give a list.
        parts = core.tuple_schema([_validator(part) for part in schema["prefixItems"]], strict=False)
        return core.no_info_after_validator_function(list, parts)
    items = _validator(schema.get("items", {}))
    return core.list_schema(items, min_length=schema.get("minItems"), max_length=schema.get("maxItems"))


def _numbers(value: Any) -> Any:
    """Nested lists of numbers, the same number in each, as a tensor has them."""
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
