"""A tuple that holds a loss, a part, a tensor or a function: right in every form that a parameter has."""

from collections.abc import Callable
from typing import Annotated

import pytest
import torch
from jsonschema import Draft202012Validator
from torch import Tensor, nn

import lossreg
from lossreg import InvalidConfigError, json_schema, losses, validate
from lossreg.parameters.from_annotation import schema_of
from lossreg.parameters.kinds import kind_of
from lossreg.parameters.types import Functions

HINT = tuple[nn.Module, float]
SCHEMA = {
    "type": "array",
    "prefixItems": [{"$ref": "#/$defs/loss"}, {"type": "number"}],
    "minItems": 2,
    "maxItems": 2,
}


class Pair(nn.Module):
    """A loss with a weight."""

    def __init__(self, pair: HINT, more: tuple[nn.Module, ...] = (), maybe: HINT | None = None) -> None:
        super().__init__()
        self.given = pair, more, maybe


@pytest.fixture
def registered():
    """Register the class above as the loss "pair"."""
    with losses.scope():
        losses.register("pair")(Pair)
        yield losses.entry("pair")


def problems(params):
    """Return every problem of these parameters, by path."""
    with pytest.raises(InvalidConfigError) as caught:
        validate({"name": "pair", "params": params})
    return dict(caught.value.problems)


def test_the_schema_describes_each_place():
    """JSON Schema's prefixItems describe places; without Ellipsis the length is fixed."""
    assert schema_of(HINT) == SCHEMA
    assert schema_of(HINT | None) == {"anyOf": [SCHEMA, {"type": "null"}]}
    assert schema_of(tuple[nn.Module, ...]) == {"type": "array", "items": {"$ref": "#/$defs/loss"}}
    assert schema_of(tuple[nn.Module, range]) is None


def test_modules_are_built_and_the_config_is_complete(registered):
    """Modules are at their places, defaults at every level; the config builds an equal loss."""
    built = lossreg.build("pair", pair=["dice", 2], more=["bce"], maybe=[{"name": "focal"}, 1])
    (first, weight), (second,), (third, one) = built.given
    assert [type(each).__name__ for each in (first, second, third)] == ["Dice", "BCE", "Focal"]
    assert (weight, one) == (2.0, 1.0)
    assert type(weight) is float
    config = lossreg.config_of(built)
    assert config["params"]["pair"] == [lossreg.config_of(lossreg.build("dice")), 2.0]
    assert config["params"]["maybe"] == [lossreg.config_of(lossreg.build("focal")), 1.0]
    assert lossreg.config_of(lossreg.build(config)) == config


def test_the_config_of_a_tuple_is_validated_without_building(registered):
    """Nested names are resolved by validate as well."""
    checked = validate("pair", pair=[{"name": "dice", "params": {"smooth": 2}}, 1]).params["pair"]
    assert checked[0]["params"]["smooth"] == 2.0
    assert checked[0]["provider"] == "segmentation"


@pytest.mark.parametrize(
    "pair, path, message",
    [
        (["dicee", 1], "params.pair[0].name", "did you mean 'dice'"),
        ([{"name": "dice", "params": {"smoth": 1}}, 1], "params.pair[0].params.smoth", "did you mean 'smooth'?"),
        (["dice", "much"], "params.pair[1]", "expected a number, got the text 'much'"),
        ([1, "dice"], "params.pair[0]", "expected a loss: its name or {name, params}, got 1"),
        (["dice"], "params.pair", "expected a list of a loss: its name or {name, params}, then a number, got a list"),
        (["dice", 1, 2], "params.pair", "then a number, got a list of 3"),
        ("dice", "params.pair", "then a number, got the text 'dice'"),
    ],
)
def test_each_error_has_its_path(registered, pair, path, message):
    """The path contains the index in the tuple."""
    assert message in problems({"pair": pair})[path]


def test_an_error_has_the_same_path_in_a_union(registered):
    """The tuple is meant, as null holds no list."""
    assert problems({"pair": ["dice", 1], "maybe": ["dicee", 1]}).keys() == {"params.maybe[0].name"}
    assert problems({"pair": ["dice", 1], "maybe": ["dice", "much"]}) == {
        "params.maybe[1]": "expected a number, got the text 'much'"
    }
    found = problems({"pair": ["dice", 1], "maybe": ["dice"]})
    assert found["params.maybe"].endswith("then a number or null, got a list of 1")


def test_the_published_schema_checks_each_place(registered):
    """Schema and validate agree."""
    validator = Draft202012Validator(json_schema(["pair", "dice"]))
    for pair, expected in (
        (["dice", 1], True),
        ([{"name": "dice", "params": {"smooth": 2}}, 1], True),
        ([{"name": "dice", "params": {"smoth": 2}}, 1], False),
        (["dicee", 1], False),
        (["dice", "1"], False),
        (["dice"], False),
        (["dice", 1, 2], False),
    ):
        assert validator.is_valid({"name": "pair", "params": {"pair": pair}}) is expected, pair


def test_words_and_type_name_each_place():
    """Messages and stubs describe each place."""
    kind = kind_of(SCHEMA)
    assert kind.words() == "a list of a loss: its name or {name, params}, then a number"
    assert kind.python_type(lambda slot, name: f"{name}[{slot.role}]", "Pair") == "Sequence[Pair[loss] | float]"


def test_tensors_and_functions_in_a_tuple(registered):
    """They reach the constructor as tensors and functions."""
    act = Annotated[Callable, Functions({"exp": "torch:exp"})]

    @losses.register("made")
    class Made(nn.Module):
        def __init__(self, p: tuple[Tensor, act, int]) -> None:
            super().__init__()
            self.p = p

    tensor, function, number = lossreg.build("made", p=[[1, 2], "exp", 3]).p
    assert torch.equal(tensor, torch.tensor([1.0, 2.0]))
    assert function is torch.exp
    assert number == 3
