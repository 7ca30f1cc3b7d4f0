"""Kinds of annotations in constructors: their JSON Schema, and values that they accept and refuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict, Union

from pydantic import Field

if find_spec("torch"):
    from torch.nn import Module
else:  # lossreg recognises nn.Module by its name alone, and these kinds are tested on Pythons without torch too
    Module = type("Module", (), {"__module__": "torch.nn.modules.module"})


class Term(TypedDict):
    loss: Module
    weight: NotRequired[Annotated[float, Field(default=1.0)]]
    power: int


class Reduce(Enum):
    MEAN = "mean"
    SUM = "sum"


class Point(NamedTuple):
    x: int
    y: float = 2.0


@dataclass
class Window:
    size: Annotated[int, Field(ge=1)]
    path: Path = Path("here")


REF = {"$ref": "#/$defs/loss"}
NULL = {"type": "null"}
# Annotation, its schema, accepted values (as they are returned), refused values.
KINDS: list[tuple[Any, Any, list, list]] = [
    (float, {"type": "number"}, [1.5, 2, -1e-9], ["1", True, None, [1.0]]),
    (int, {"type": "integer"}, [0, -5], [1.5, "1", True, None]),
    (bool, {"type": "boolean"}, [True, False], [0, 1, "true", None]),
    (str, {"type": "string"}, ["", "x"], [1, None, ["x"]]),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, ["a", "b"], ["c", "A", 1, None]),
    (Literal["a"], {"type": "string", "const": "a"}, ["a"], ["b", None]),
    (Literal[1, 2], {"type": "integer", "enum": [1, 2]}, [1, 2], [3, "1"]),
    (Optional[float], {"anyOf": [{"type": "number"}, NULL]}, [None, 1.5], ["1", True]),  # noqa: UP045
    (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}, [1, "x"], [1.5, None, [1]]),
    (Union[int, None], {"anyOf": [{"type": "integer"}, NULL]}, [1, None], ["x"]),  # noqa: UP007
    (Annotated[float, Field(ge=0, lt=1)], {"type": "number", "minimum": 0, "exclusiveMaximum": 1}, [0, 0.5], [-1, 1]),
    (
        Annotated[int, Field(gt=0, multiple_of=2)],
        {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 2},
        [2],
        [0, 3],
    ),
    (
        Annotated[str, Field(min_length=1, pattern="^a")],
        {"type": "string", "minLength": 1, "pattern": "^a"},
        ["ab"],
        [""],
    ),
    (list[float], {"type": "array", "items": {"type": "number"}}, [[], [1.5, 2]], [["x"], 1.5, {"a": 1.5}]),
    (Sequence[int], {"type": "array", "items": {"type": "integer"}}, [[1]], [[1.5], "ab"]),
    (list, {"type": "array", "items": {}}, [[1, "x", None]], [5]),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, [[1, 2]], [["x"]]),
    (
        tuple[int, str],
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        [[1, "x"]],
        [[1], [1, "x", 2], ["x", 1], 5],
    ),
    (
        tuple[Module, float],
        {"type": "array", "prefixItems": [REF, {"type": "number"}], "minItems": 2, "maxItems": 2},
        [["dice", 1.5]],
        [["dice"], ["dice", "x"], ["nothing", 1], [1.5, "dice"], ["dice", 1, 2], "dice", [None, 1]],
    ),
    (
        dict[str, float],
        {"type": "object", "additionalProperties": {"type": "number"}},
        [{}, {"a": 1.5}],
        [{"a": "x"}, []],
    ),
    (
        Annotated[list[str], Field(min_length=1)],
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        [["x"]],
        [[]],
    ),
    (Any, {}, [None, 1, "x", [1], {"a": [None]}], []),
    (Reduce, {"type": "string", "enum": ["mean", "sum"]}, ["mean"], ["max", 1, None]),
    (list[Reduce], {"type": "array", "items": {"type": "string", "enum": ["mean", "sum"]}}, [["sum"]], [["x"], "sum"]),
    (Path, {"type": "string"}, ["a/b"], [1, None]),
    (set[int], {"type": "array", "items": {"type": "integer"}}, [[1, 2]], [["x"], 1]),
    (
        dict[int, float],
        {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "propertyNames": {"type": "string", "pattern": "^(0|-?[1-9][0-9]*)$"},
        },
        [{}, {"0": 1.5, "-3": 2}],
        [{"x": 1.5}, {"01": 1.5}, {"1": "x"}, []],
    ),
    (
        dict[Reduce, int],
        {"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"enum": ["mean", "sum"]}},
        [{"mean": 1}],
        [{"max": 1}],
    ),
    (
        Window,
        {
            "type": "object",
            "properties": {"size": {"type": "integer", "minimum": 1}, "path": {"type": "string", "default": "here"}},
            "required": ["size"],
            "additionalProperties": False,
        },
        [{"size": 1, "path": "x"}],
        [{"size": 0}, {"path": "x"}, {"size": 1, "pth": "x"}, 5, None],
    ),
    (
        Point,
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "number"}],
            "minItems": 1,
            "maxItems": 2,
        },
        [[1], [1, 2.5]],
        [[], [1, 2, 3], ["x"], {"x": 1}],
    ),
    (Module, REF, ["dice", {"name": "bce"}], [5, None, "nothing", {"nam": "x"}, ["dice"]]),
    (Module | None, {"anyOf": [REF, NULL]}, [None, "dice"], [5, True, ["dice"], "nothing"]),
    (list[Module], {"type": "array", "items": REF}, [[], ["dice"]], ["dice", [5], [None]]),
    (
        Annotated[Sequence[Module], Field(min_length=1)],
        {"type": "array", "items": REF, "minItems": 1},
        [["dice"]],
        [[]],
    ),
    (Mapping[str, Module], {"type": "object", "additionalProperties": REF}, [{"a": "dice"}], [["dice"], {"a": 5}]),
    (
        list[Term],
        {
            "type": "array",
            "items": REF
            | {
                "properties": {"weight": {"type": "number", "default": 1.0}, "power": {"type": "integer"}},
                "required": ["power"],
            },
        },
        [[{"name": "dice", "power": 2}], [{"name": "dice", "power": 2, "weight": 1.5}]],
        [["dice"], [{"name": "dice"}], [{"name": "dice", "power": 1.5}], [{"name": "dice", "power": 1, "x": 1}]],
    ),
]
