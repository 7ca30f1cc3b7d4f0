"""Unions of kinds: validation and construction choose the same member."""

from collections.abc import Callable
from typing import Annotated, Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

import lossreg
from lossreg import InvalidConfigError, losses
from lossreg.parameters.types import Functions

Act = Annotated[Callable, Functions({"exp": "torch:exp"})]


@pytest.fixture
def given():
    """Return a function: the argument that a constructor receives for an annotation and a value."""
    with losses.scope():

        def build(hint, value):
            class Made(nn.Module):
                def __init__(self, p):
                    super().__init__()
                    self.p = p

            Made.__init__.__annotations__["p"] = hint
            name = f"made_{len(losses)}"
            losses.register(name)(type(f"Made{name}", (Made,), {}))
            return lossreg.build({"name": name, "params": {"p": value}}).p

        yield build


def test_a_name_of_a_mode_is_no_function(given):
    """`auto` stays text; `exp` becomes the function."""
    assert given(Literal["auto"] | Act, "auto") == "auto"
    assert given(Literal["auto"] | Act, "exp") is torch.exp
    assert given(Act | str, "other") == "other"


def test_a_name_of_a_mode_is_no_loss(given):
    """Listed values come first, in any order of the union."""
    assert given(nn.Module | Literal["auto"], "auto") == "auto"
    assert type(given(nn.Module | Literal["auto"], "dice")).__name__ == "Dice"


def test_numbers_become_the_tensor_that_takes_them(given):
    """A list of numbers beside a tensor stays a list; values for the tensor alone become one."""
    assert given(list[float] | Tensor, [1.0, 2.0]) == [1.0, 2.0]
    assert torch.equal(given(list[float] | Tensor, [[1, 2], [3, 4]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert torch.equal(given(list[nn.Module] | Tensor, [1.0, 2.0]), torch.tensor([1.0, 2.0]))
    assert given(float | Tensor, 3) == 3.0


def test_one_is_not_true():
    """A mode has the type that the Literal has."""
    with losses.scope():

        @losses.register("dims")
        class Dims(nn.Module):
            def __init__(self, dims: Literal[1, 2] = 1):
                super().__init__()

        assert lossreg.validate({"name": "dims", "params": {"dims": 2}}).params == {"dims": 2}
        for wrong in (True, 1.0, "1", 3):
            with pytest.raises(InvalidConfigError, match=r"params\.dims: expected one of 1, 2"):
                lossreg.validate({"name": "dims", "params": {"dims": wrong}})


def test_a_number_too_large_for_the_tensor_is_an_error(given):
    """It would be infinite."""
    with pytest.raises(InvalidConfigError, match=r"params\.p: a number is too large for torch\.float32"):
        given(Tensor, [1e300])


def test_a_constructor_cannot_change_the_config():
    """It receives copies of lists."""
    with losses.scope():

        @losses.register("changing")
        class Changing(nn.Module):
            def __init__(self, sizes: list[int] = (1, 2)):
                super().__init__()
                sizes[0] = 99

        assert lossreg.config_of(lossreg.build("changing"))["params"] == {"sizes": [1, 2]}


def test_a_loss_by_default_is_built():
    """A default that names a loss is built."""
    with losses.scope():

        @losses.register("around")
        class Around(nn.Module):
            def __init__(self, base: nn.Module = "dice"):
                super().__init__()
                self.base = base

        assert type(lossreg.build("around").base).__name__ == "Dice"


def test_a_default_that_names_its_own_loss_is_an_error():
    """It would never end: the depth of the config does not bound it, the nesting of losses does."""
    with losses.scope():

        @losses.register("endless")
        class Endless(nn.Module):
            def __init__(self, base: nn.Module = "endless"):
                super().__init__()

        with pytest.raises(InvalidConfigError, match=r"base\.params\.base: losses are nested deeper than 16"):
            lossreg.validate("endless")


def test_providers_are_a_set_of_names():
    """Text would be read as its letters."""
    with pytest.raises(lossreg.InvalidNameError, match="providers is a set of names, got 'segmentation'; write"):
        lossreg.build("dice", providers="segmentation")


def test_one_decision_for_the_check_and_for_the_constructor(given):
    """A number beyond the bounds of the one member is valid as the other, and is built as that one."""
    hint = Annotated[float, Field(ge=0)] | Tensor
    assert given(hint, 1) == 1.0
    assert torch.equal(given(hint, -1), torch.tensor(-1.0))
    assert torch.equal(given(Tensor | list[float], [1, 2]), torch.tensor([1.0, 2.0]))


def test_an_error_in_a_member_is_reported_at_its_place():
    """Where the JSON type decides which member is meant; else the message lists all members."""
    with losses.scope():

        @losses.register("several")
        class Several(nn.Module):
            def __init__(self, p: list[Annotated[float, Field(ge=0)]] | dict[str, bool] | None = None):
                super().__init__()

        def problems(value):
            with pytest.raises(InvalidConfigError) as caught:
                lossreg.validate("several", p=value)
            return dict(caught.value.problems)

        assert problems([1, -2, "x"]) == {
            "params.p[1]": "expected a number >= 0, got -2",
            "params.p[2]": "expected a number >= 0, got the text 'x'",
        }
        assert problems({"a": True, "b": 1}) == {"params.p.b": "expected true or false, got 1"}
        every = "a list, each a number >= 0 or a mapping to true or false or null"
        assert problems("x") == {"params.p": f"expected {every}, got the text 'x'"}
