"""Calls that do not fit a loss: the error names the loss, its inputs and its options, in every way of calling it."""

import pytest
import torch
from torch import nn

from lossreg import InputError, Loss, Term, evaluate
from lossreg.loss.calls import Signature, joined, signature_of

X, T = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])


class Scaled(Loss):
    """A loss with an option and a parameter."""

    def __init__(self, power=2):
        super().__init__()
        self.power = power
        self.register_buffer("weights", None)

    def terms(self, input, target, scale=1.0):
        return {"scaled": Term((input - target) ** self.power * scale)}


class Passing(Loss):
    """A loss whose inputs are those of its passes."""

    def passes(self, input, target, *, step=0):
        return []

    def terms_from(self, results, input, target, *, step=0):
        return {"passing": Term((input - target).abs() + step)}


def calls(loss):
    """Return the ways to call a loss."""
    return loss, loss.evaluate, loss.per_example, lambda *inputs, **options: evaluate(loss, *inputs, **options)


@pytest.mark.parametrize(
    "inputs, options, message",
    [
        ((X,), {}, r"Scaled needs target; call it as loss\(input, target\)"),
        ((), {"scale": 1}, "Scaled needs input, target; call it as"),
        ((X, T), {"foo": 1}, "Scaled has no option foo=; its options: scale$"),
        ((X, T), {"scal": 1}, "Scaled has no option scal=; its options: scale$"),
        ((X, T), {"power": 1}, "no option power=, which is a parameter: set power where the loss is built"),
        ((X, T), {"weights": 1}, "no option weights=, which is a parameter"),
        ((X, T), {"target": T}, "Scaled got target twice, by position and by name; give each input once"),
        (
            (X, T, 1.0, 2.0),
            {},
            r"Scaled takes input, target, scale, got 4 inputs; call it as loss.input, target, scale=",
        ),
    ],
)
def test_a_call_that_does_not_fit(inputs, options, message):
    """No way of calling shows Python's message about an internal method."""
    for call in calls(Scaled()):
        with pytest.raises(InputError, match=message):
            call(*inputs, **options)


def test_the_advice_is_followed():
    """The call that the message shows works, and so does the parameter where the loss is built."""
    assert Scaled()(X, T, scale=2.0).item() == 5.0
    assert Scaled(power=1)(X, T).item() == 1.5


@pytest.mark.parametrize("loss, expected", [(Scaled(), [1.0, 4.0]), (Passing(), [1.0, 2.0])])
def test_inputs_by_name_are_those_by_position(loss, expected):
    """In every way of calling, in any order."""
    assert loss(target=T, input=X).item() == loss(X, target=T).item() == sum(expected) / 2
    assert loss.evaluate(target=T, input=X).per_example.tolist() == expected
    assert loss.per_example(X, target=T).tolist() == expected


def test_inputs_of_passes():
    """Are those that the method `passes` names."""
    with pytest.raises(InputError, match=r"Passing needs target; call it as loss\(input, target\)"):
        Passing()(X)
    assert Passing()(X, T, step=1).item() == 2.5


def test_an_option_without_a_meaning_comes_with_the_reason():
    """A weight per pixel, which other losses take, is none of a loss that ranks pixels."""

    class Ranking(Passing):
        meaningless = {"weight": "it ranks pixels"}  # noqa: RUF012

    with pytest.raises(InputError, match="Ranking has no option weight=; weight= has no meaning there, because it"):
        Ranking()(X, T, weight=X)


def test_a_loss_of_any_call_is_not_checked():
    """Its own code reads what it gets."""

    class Open(Loss):
        def terms(self, *inputs, **options):
            return {"count": Term(torch.full((1,), float(len(inputs) + len(options))))}

    assert Open()(1, 2, 3, four=4).item() == 4


def test_signatures():
    """Names by position, the first ones required, and options by name."""

    def method(self, input, target, caption=None, *, weight=None):
        pass

    found = signature_of(method)
    assert found == Signature(("input", "target", "caption"), 2, frozenset({"caption", "weight"}))
    assert signature_of(nn.L1Loss.forward).inputs == ("input", "target")
    three = Signature(("x", "y", "z"), 3, frozenset({"weight"}))
    assert joined([found, three]) == Signature(("x", "y", "z"), 3, frozenset({"caption", "weight"}))
    assert joined([found, Signature(("a",), 1)]).inputs == ("input", "target", "caption")
