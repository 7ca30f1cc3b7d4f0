"""An annotation is a promise: the constructor receives its values for the data of a config."""

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict

import pytest
import typing_extensions
from jsonschema import Draft202012Validator
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ImportString,
    PlainValidator,
    StringConstraints,
    field_validator,
)
from torch import Tensor, nn

import lossreg
from lossreg import InvalidConfigError, ManifestError, losses
from lossreg.parameters.from_signature import describe, unsettable_parameters
from lossreg.parameters.types import Functions


class Reduce(enum.Enum):
    MEAN = "mean"
    SUM = "sum"


class Text(enum.StrEnum):
    ONE = "one"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    NUMBER = 1
    TEXT = "x"
    HALF = 0.5


class Bits(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: float = 2.0


@dataclasses.dataclass
class Window:
    size: Annotated[int, Field(ge=1)]
    path: Path = Path("here")
    how: Reduce = Reduce.SUM
    points: list[Point] = dataclasses.field(default_factory=list)


class Options(TypedDict):
    how: Reduce
    level: NotRequired[Level]


class Model(BaseModel):
    alpha: float = Field(ge=0, le=1)
    window: Window | None = None
    weights: dict[int, float] = {0: 1.0}

    @field_validator("alpha")
    @classmethod
    def not_half(cls, value):
        if value == 0.5:
            raise ValueError("alpha is not a half")
        return value


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    how: Reduce


class Open(BaseModel, extra="allow"):
    a: int


class Renamed(BaseModel):
    lambda_: float = Field(alias="lambda")


class Term(TypedDict):
    loss: nn.Module
    how: NotRequired[Reduce]


class OtherTerm(typing_extensions.TypedDict):
    loss: nn.Module
    how: NotRequired[Reduce]


@dataclasses.dataclass
class Weighted:
    loss: nn.Module
    weight: float = 1.0
    how: Reduce = Reduce.MEAN


class Named(NamedTuple):
    loss: nn.Module
    weight: float = 1.0


def odd(value):
    if value % 2 == 0:
        raise ValueError(f"{value} is even")
    return value


Odd = Annotated[int, AfterValidator(odd)]
Celsius = NewType("Celsius", float)
Mode = NewType("Mode", Reduce)


@pytest.fixture
def made():
    """Return a function: the loss with one parameter `p` of an annotation, registered as "made"."""
    with losses.scope():

        def make(hint, *default):
            class Made(nn.Module):
                def __init__(self, p=default[0] if default else None):
                    super().__init__()
                    self.p = p

            if not default:
                Made.__init__.__defaults__ = None
            if hint is not None:
                Made.__init__.__annotations__["p"] = hint
            losses.register("made")(Made)
            return Made

        yield make


# An annotation, the data of a config, and the value that the constructor receives, of this very type.
PROMISES = [
    (Reduce, "mean", Reduce.MEAN),
    (Text, "one", Text.ONE),
    (Level, 2, Level.HIGH),
    (Mixed, 1, Mixed.NUMBER),
    (Mixed, 0.5, Mixed.HALF),
    (Literal[Reduce.MEAN], "mean", Reduce.MEAN),
    (Literal["auto", Level.HIGH], 2, Level.HIGH),
    (Literal["auto", Level.HIGH], "auto", "auto"),
    (Path, "a/b", Path("a/b")),
    (PurePosixPath, "a/b", PurePosixPath("a/b")),
    (Odd, 3, 3),
    (Annotated[int, AfterValidator(lambda value: value * 2)], 3, 6),
    (Annotated[int, BeforeValidator(lambda value: abs(value))], -3, 3),
    (Annotated[float, PlainValidator(lambda value: float(value), json_schema_input_type=str)], "1.5", 1.5),
    (Annotated[str, StringConstraints(to_upper=True)], "a", "A"),
    (Celsius, 1, 1.0),
    (Mode, "sum", Reduce.SUM),
    (set[int], [1, 2, 2], {1, 2}),
    (frozenset[Reduce], ["mean"], frozenset({Reduce.MEAN})),
    (tuple, [1, "a"], (1, "a")),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[Reduce, ...], ["mean", "sum"], (Reduce.MEAN, Reduce.SUM)),
    (tuple[tuple[int, int], ...], [[1, 2]], ((1, 2),)),
    (list[tuple[int, int]], [[1, 2]], [(1, 2)]),
    (Sequence[Reduce], ["mean"], [Reduce.MEAN]),
    (Iterable[Reduce], ["mean"], [Reduce.MEAN]),
    (Iterable, [1], [1]),
    (typing_extensions.Iterable, ["a"], ["a"]),
    (Collection, [1], [1]),
    (list[Path], ["a"], [Path("a")]),
    (Point, [1], Point(1, 2.0)),
    (Point, [1, 3], Point(1, 3.0)),
    (dict[int, float], {"0": 1, "-5": 2.5}, {0: 1.0, -5: 2.5}),
    (dict[int, float], {0: 1.0, 1: 5.0}, {0: 1.0, 1: 5.0}),
    (Mapping[int, tuple[int, ...]], {"1": [1]}, {1: (1,)}),
    (dict[float, int], {"0.5": 1}, {0.5: 1}),
    (dict[bool, int], {"true": 1, "false": 0}, {True: 1, False: 0}),
    (dict[Reduce, int], {"mean": 1}, {Reduce.MEAN: 1}),
    (dict[Level, int], {"2": 1}, {Level.HIGH: 1}),
    (dict[Mixed, int], {"1": 1, "x": 2, "0.5": 3}, {Mixed.NUMBER: 1, Mixed.TEXT: 2, Mixed.HALF: 3}),
    (dict[Literal[1, 2], str], {"1": "a"}, {1: "a"}),
    (dict[Path, int], {"a": 1}, {Path("a"): 1}),
    (dict[str, dict[int, Reduce]], {"a": {"1": "sum"}}, {"a": {1: Reduce.SUM}}),
    (Optional[Reduce], None, None),  # noqa: UP045
    (Reduce | None, "mean", Reduce.MEAN),
    (float | Path, "1.5", Path("1.5")),
    (int | dict[int, int], {"1": 1}, {1: 1}),
    (int | Annotated[Reduce, Field(description="how")], "sum", Reduce.SUM),
    (Window, {"size": 3}, Window(3)),
    (Window, {"size": 3, "path": "x", "how": "mean", "points": [[1]]}, Window(3, Path("x"), Reduce.MEAN, [Point(1)])),
    (list[Window], [{"size": 1}], [Window(1)]),
    (dict[int, Window | None], {"1": {"size": 1}, "2": None}, {1: Window(1), 2: None}),
    (Model, {"alpha": 1, "window": {"size": 2}}, Model(alpha=1.0, window=Window(2))),
    (Open, {"a": 1, "b": [2]}, Open(a=1, b=[2])),
    (Cat | Dog, {"kind": "dog", "how": "sum"}, Dog(kind="dog", how=Reduce.SUM)),
    (Renamed, {"lambda": 1}, Renamed(**{"lambda": 1.0})),
    (Options, {"how": "mean", "level": 2}, {"how": Reduce.MEAN, "level": Level.HIGH}),
    (datetime.date, "2024-01-02", datetime.date(2024, 1, 2)),
    (decimal.Decimal, 0.1, decimal.Decimal("0.1")),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID("12345678123456781234567812345678")),
]


def same(one, other):
    """Return whether two values are equal, and of one type at every depth."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(same(*pair) for pair in zip(one.items(), other.items(), strict=True))
    return not isinstance(one, (list, tuple)) or all(same(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("hint, data, value", PROMISES, ids=[f"{str(hint)[:40]}-{data}" for hint, data, _ in PROMISES])
def test_the_constructor_receives_what_its_annotation_promises(made, hint, data, value):
    """The config stays data, by which a second build makes the same; the published schema accepts it."""
    made(hint)
    built = lossreg.build({"name": "made", "params": {"p": data}})
    assert same(built.p, value), built.p
    config = lossreg.config_of(built)
    assert json.loads(json.dumps(config)) == config
    again = lossreg.build(json.loads(json.dumps(config)))
    assert same(again.p, value)
    assert lossreg.config_of(again) == config
    assert Draft202012Validator(lossreg.json_schema(["made"])).is_valid(config)


# An annotation, data that no value stands for, and the path and message of the problem.
REFUSED = [
    (Reduce, "max", "p", "expected one of 'mean', 'sum', got the text 'max'"),
    (Level, "1", "p", "expected one of 1, 2, got the text '1'"),
    (Level, True, "p", "expected one of 1, 2, got True"),
    (dict[int, float], {"x": 1}, "p.x", "expected an integer as text, got the text 'x'"),
    (dict[int, float], {"01": 1}, "p['01']", "expected an integer as text, got the text '01'"),
    (dict[int, float], {"1": "x"}, "p['1']", "expected a number, got the text 'x'"),
    (dict[Level, int], {"3": 1}, "p['3']", "expected one of '1', '2', got the text '3'"),
    (dict[int, Annotated[int, Field(ge=0)]], {"1": -1}, "p['1']", "expected an integer >= 0, got -1"),
    (Window, {"size": "11"}, "p.size", "expected an integer >= 1, got the text '11'"),
    (Window, {"size": 0}, "p.size", "expected an integer >= 1, got 0"),
    (Window, {"sise": 1}, "p.sise", "unknown key; did you mean 'size'?"),
    (Window, {"path": "x"}, "p.size", "missing; expected an integer >= 1"),
    (Window, 3, "p", "expected a mapping {size, path, how, points}, got 3"),
    (list[Window], [{"size": 1}, {"size": 1, "how": "x"}], "p[1].how", "expected one of 'mean', 'sum', got the text"),
    (Window | None, {"size": "x"}, "p.size", "expected an integer >= 1, got the text 'x'"),
    (Window | None, {"size": 1, "hw": 1}, "p.hw", "unknown key; did you mean 'how'?"),
    (Model, {"alpha": 2}, "p.alpha", "expected a number >= 0 and <= 1, got 2"),
    (Model, {"alpha": 1, "window": {"size": 0}}, "p.window.size", "expected an integer >= 1, got 0"),
    (Model, {"alpha": 1, "zzz": 1}, "p.zzz", "unknown key; allowed are alpha, window, weights"),
    (Options, {"how": "x"}, "p.how", "expected one of 'mean', 'sum'"),
    (Options, {"level": 1}, "p.how", "missing; expected one of 'mean', 'sum'"),
    (Point, [], "p", "expected a list of an integer, then a number if any, got a list of 0"),
    (Point, [1, 2, 3], "p", "expected a list of an integer, then a number if any, got a list of 3"),
    (set[int], ["x"], "p[0]", "expected an integer, got the text 'x'"),
    (Path, 3, "p", "expected text, got 3"),
    (Cat | Dog, {"kind": "dog", "how": "x"}, "p.how", "expected one of 'mean', 'sum', got the text 'x'"),
    (Cat | Dog, {"kind": "cow"}, "p", "expected a mapping {kind, lives} or a mapping {kind, how}, got a mapping of 1"),
    (Callable[[int], int] | None, 3, "p", "expected null, got 3"),
    (dict[int, nn.Module], {"x": "dice"}, "p.x", "expected an integer as text, got the text 'x'"),
]


@pytest.mark.parametrize("hint, data, path, message", REFUSED, ids=[f"{str(r[0])[:40]}-{r[1]}" for r in REFUSED])
def test_other_data_is_refused_before_anything_is_built(made, hint, data, path, message):
    """Validation and the published schema refuse it, at its place."""
    made(hint)
    config = {"name": "made", "params": {"p": data}}
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.validate(config)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert message in found[f"params.{path}"]
    assert not Draft202012Validator(lossreg.json_schema(["made"])).is_valid(config)


@pytest.mark.parametrize(
    "hint, data, path, message",
    [
        (Odd, 4, "p", "4 is even, got 4"),
        (list[Odd], [1, 2, 3], "p[1]", "2 is even, got 2"),
        (dict[int, Odd], {"7": 2}, "p['7']", "2 is even, got 2"),
        (Model, {"alpha": 0.5}, "p.alpha", "alpha is not a half, got 0.5"),
        (list[Model | None], [None, {"alpha": 0.5}], "p[1].alpha", "alpha is not a half, got 0.5"),
        (datetime.date, "2024-13-45", "p", "valid date"),
        (Annotated[str, AfterValidator(lambda value: value + 1)], "a", "p", "TypeError: can only concatenate"),
        (tuple[nn.Module, Odd], ["dice", 2], "p[1]", "2 is even, got 2"),
        (dict[Annotated[int, Field(ge=0)], float], {"-1": 1}, "p.-1", "greater than or equal to 0, got the text '-1'"),
    ],
)
def test_a_validator_refuses_a_value_when_the_loss_is_built(made, hint, data, path, message):
    """It is code of the package: validation from a manifest does not run it."""
    made(hint)
    config = {"name": "weighted_sum", "params": {"terms": [{"name": "made", "params": {"p": data}}]}}
    lossreg.validate(config)
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.build(config)
    ((found, text, *_),) = caught.value.problems
    assert found == f"params.terms[0].params.{path}"
    assert message in text


def test_a_whole_number_is_an_int_where_an_unannotated_default_is_one(made):
    """`n=3` allows 0.5, and `range(n)` still works: by default, by a number and by a config that is complete."""
    made(None, 3)
    for config, expected in (("made", 3), ({"name": "made", "params": {"p": 2}}, 2)):
        for built in (lossreg.build(config), lossreg.build(lossreg.config_of(lossreg.build(config)))):
            assert same(built.p, expected)
    assert same(lossreg.build("made", p=0.5).p, 0.5)
    made(None, 1.0)
    assert same(lossreg.build("made", p=2).p, 2.0)


def test_the_default_of_a_factory_is_written(made):
    """A config is complete: also the empty list of a dataclass; what differs each time is left to the class."""

    @dataclasses.dataclass
    class Made:
        names: list[str] = dataclasses.field(default_factory=lambda: ["a"])
        code: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)

    made(Made)
    assert lossreg.validate({"name": "made", "params": {"p": {}}}).params == {"p": {"names": ["a"]}}
    assert lossreg.build("made", p={}).p.names == ["a"]


def test_the_items_of_every_set_in_a_default_are_sorted(made):
    """Their order differs between processes, and a manifest must not."""

    @dataclasses.dataclass
    class Holder:
        held: set[int]

    ordered = set([8, 0])  # noqa: C405 - of two numbers with one place in the table, the first is the first
    assert list(ordered) == [8, 0]
    for hint, default, data in (
        (dict[str, set[int]], {"a": ordered}, {"a": [0, 8]}),
        (list[set[int]], [ordered], [[0, 8]]),
        (tuple[int, frozenset[int]], (1, frozenset(ordered)), [1, [0, 8]]),
        (set[frozenset[int]], {frozenset(ordered)}, [[0, 8]]),
        (Holder, Holder(ordered), {"held": [0, 8]}),
    ):
        assert describe(made(hint, default))["properties"]["p"]["default"] == data


def test_further_names_of_a_member_are_not_listed_again(made):
    """An Enum may have two names for one value."""

    class Mode(enum.Enum):
        MEAN = "mean"
        AVERAGE = "mean"
        SUM = "sum"

    assert describe(made(Mode))["properties"]["p"] == {"enum": ["mean", "sum"], "type": "string"}


def test_modules_within_other_values(made):
    """Slots may be anywhere in an annotation; each nested loss is in the complete config."""
    made(dict[int, nn.Module])
    built = lossreg.build("made", p={0: "dice", 1: {"name": "focal", "params": {"gamma": 3}}})
    assert {key: type(value).__name__ for key, value in built.p.items()} == {0: "Dice", 1: "Focal"}
    config = lossreg.config_of(built)
    assert config["params"]["p"]["0"] == lossreg.config_of(lossreg.build("dice"))
    assert lossreg.config_of(lossreg.build(config)) == config
    made(list[Weighted])
    (first, second) = lossreg.build("made", p=[{"loss": "dice"}, {"loss": "bce", "weight": 2, "how": "sum"}]).p
    assert (type(first), type(first.loss).__name__, first.weight, first.how) == (Weighted, "Dice", 1.0, Reduce.MEAN)
    assert (type(second.loss).__name__, second.weight, second.how) == ("BCE", 2.0, Reduce.SUM)
    made(tuple[Named, ...])
    ((loss, weight), (_, other)) = lossreg.build("made", p=[["dice"], ["bce", 3]]).p
    assert (type(loss).__name__, weight, other) == ("Dice", 1.0, 3.0)
    made(dict[Reduce, tuple[nn.Module, Path]] | None)
    assert lossreg.build("made", p={"mean": ["dice", "x"]}).p[Reduce.MEAN][1] == Path("x")
    for term in (Term, OtherTerm):
        made(list[term])
        (first, second) = lossreg.build("made", p=["dice", {"name": "bce", "how": "sum"}]).p
        assert (first.keys(), type(second["loss"]).__name__, second["how"]) == ({"loss"}, "BCE", Reduce.SUM)
    made(tuple[Tensor, Annotated[Callable, Functions({"exp": "torch:exp"})], Reduce])
    tensor, function, how = lossreg.build("made", p=[[1, 2], "exp", "sum"]).p
    assert (tensor.tolist(), function.__name__, how) == ([1.0, 2.0], "exp", Reduce.SUM)


@pytest.mark.parametrize(
    "hint, data, path",
    [
        (dict[int, nn.Module], {"0": "dicee"}, "p['0'].name"),
        (dict[int, nn.Module], {"x": "dice"}, "p.x"),
        (list[Weighted], [{"loss": "dice", "weigth": 1}], "p[0].weigth"),
        (list[Weighted], [{"loss": {"name": "dice", "params": {"smoth": 1}}}], "p[0].loss.params.smoth"),
        (list[Weighted], [{"weight": 1}], "p[0].loss"),
        (tuple[Named, ...], [["dice", "x"]], "p[0][1]"),
    ],
)
def test_problems_within_values_that_hold_modules(made, hint, data, path):
    """Each has its path; the published schema refuses the config as well."""
    made(hint)
    config = {"name": "made", "params": {"p": data}}
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.validate(config)
    assert [problem.path for problem in caught.value.problems] == [f"params.{path}"]
    assert not Draft202012Validator(lossreg.json_schema(["made", "dice"])).is_valid(config)


DEFAULTS = [
    (Reduce, Reduce.MEAN, "mean"),
    (Text, Text.ONE, "one"),
    (Level, Level.HIGH, 2),
    (Path, Path("a/b"), "a/b"),
    (set[str], {"b", "c", "a"}, ["a", "b", "c"]),
    (frozenset[int], frozenset({3, 1}), [1, 3]),
    (tuple[int, int], (1, 2), [1, 2]),
    (Point, Point(1), [1, 2.0]),
    (Window, Window(3), {"size": 3, "path": "here", "how": "sum", "points": []}),
    (Model, Model(alpha=1), {"alpha": 1.0, "window": None, "weights": {"0": 1.0}}),
    (dict[int, Reduce], {1: Reduce.SUM}, {"1": "sum"}),
    (Reduce | None, None, None),
    (Reduce, None, None),
    (Reduce, "mean", "mean"),
    (None, Reduce.SUM, "sum"),
    (None, Path("x"), "x"),
    (None, {2, 1}, [1, 2]),
    (None, (1, (2, 3)), [1, [2, 3]]),
    (None, Window(1), {"size": 1, "path": "here", "how": "sum", "points": []}),
    (Odd, 3, 3),
]


@pytest.mark.parametrize("hint, default, data", DEFAULTS, ids=range(len(DEFAULTS)))
def test_a_default_is_written_as_data(made, hint, default, data):
    """The complete config builds a loss with an equal value."""
    made(hint, default)
    built = lossreg.build("made")
    assert lossreg.config_of(built)["params"] == {"p": data}
    assert built.p == (Reduce.MEAN if default == "mean" else default)
    assert lossreg.build(lossreg.config_of(built)).p == built.p


@pytest.mark.parametrize(
    "hint, default",
    [
        (Annotated[int, AfterValidator(lambda value: value * 2)], 3),  # the constructor would receive 6
        (Annotated[float, Field(gt=0)], 0.0),
        (int, 0.5),
        (float, float("inf")),
        (Path, 5),
        (Window, dataclasses.make_dataclass("Wider", [("more", int, 1)], bases=(Window,))(1)),
    ],
)
def test_a_default_that_data_would_change_is_left_to_the_constructor(made, hint, default):
    """The config has no value for it, and is valid."""
    made(hint, default)
    built = lossreg.build("made")
    assert built.p is default
    assert lossreg.config_of(built)["params"] == {}
    assert lossreg.build(lossreg.config_of(built)).p is default


class Node(BaseModel):
    child: Optional["Node"] = None


class Importing(BaseModel):
    function: ImportString


@pytest.mark.parametrize(
    "hint",
    [
        Bits,
        bytes,
        Literal[b"x"],
        Literal["a", Path("x")],
        Callable[[int], int],
        range,
        type[int],
        Node,
        dict[tuple[int, int], float],
        list[Bits],
        ImportString,  # a config would choose the code that it imports
        list[Importing],
    ],
)
def test_an_annotation_without_data_is_refused_by_the_name_of_its_parameter(made, hint):
    """With a default, the parameter is left to the constructor, and listed."""
    cls = made(hint)
    for call in (lambda: describe(cls), lambda: lossreg.validate("made"), lambda: lossreg.build("made", p=1)):
        with pytest.raises(ManifestError, match=r"the parameter p of .*Made cannot be set from a config: .*; annotate"):
            call()
    default = object()
    optional = made(hint, default)
    assert describe(optional)["properties"] == {}
    assert unsettable_parameters(optional).keys() == {"p"}
    with pytest.raises(InvalidConfigError, match=r"params\.p: cannot be set from a config: .*; leave it out"):
        lossreg.validate("made", p=1)
    assert lossreg.build("made").p is default


def test_a_parameter_that_needs_no_conversion_is_passed_on_as_it_is(made):
    """Building stays quick: no adapter is made for numbers, text, lists and modules."""
    from lossreg.parameters.converted import _conversions_of

    for hint in (float, int | None, list[float], dict[str, int], nn.Module, Tensor | None, Literal["a"], Any):
        assert _conversions_of(made(hint)) == {}
    for hint in (Annotated[float, Field(ge=0)], Sequence[nn.Module], Annotated[list[int], Field(min_length=1)]):
        assert _conversions_of(made(hint)) == {}
