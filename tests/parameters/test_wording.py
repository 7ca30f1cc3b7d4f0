"""Kinds in words, and text that a terminal can show."""

import pytest

from lossreg.messages import printable
from lossreg.parameters.kinds import kind_of


@pytest.mark.parametrize(
    "schema, text",
    [
        ({"type": "number"}, "a number"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1.5}, "a number >= 0 and < 1.5"),
        ({"type": "integer", "exclusiveMinimum": 0, "maximum": 9}, "an integer > 0 and <= 9"),
        ({"type": "integer", "multipleOf": 2}, "an integer multiple of 2"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 1, "maxLength": 3}, "text of at least 1 and at most 3 characters"),
        ({"type": "null"}, "null"),
        ({}, "any value"),
        ({"enum": ["mean", "sum"], "type": "string"}, "one of 'mean', 'sum'"),
        ({"const": "x"}, "'x'"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "a number or null"),
        ({"type": "array"}, "a list"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, "a list of at least 2, each a number"),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]}, "a list of a number, then text"),
        ({"type": "object"}, "a mapping"),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, "a mapping to true or false"),
        ({"$ref": "#/$defs/loss"}, "a loss: its name or {name, params}"),
        (
            {"$ref": "#/$defs/loss", "properties": {"weight": {}}, "required": []},
            "a loss: its name or {name, params, weight}",
        ),
    ],
)
def test_each_kind_of_schema_in_words(schema, text):
    """Error messages show these words."""
    assert kind_of(schema).words() == text


def test_control_characters_are_not_printed():
    """A package's summary must not steer the terminal."""
    assert printable("dice\x1b[31m\n\tbold") == "dice?[31m??bold"
    assert printable("Größe ≥ 0") == "Größe ≥ 0"
