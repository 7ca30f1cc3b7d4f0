"""A call with a weight for each pixel is one function as well, with a plan of its own."""

import math

import pytest
import torch

import lossreg
from lossreg_segmentation.overlap import Dice
from lossreg_segmentation.statistics import implementation

SUM = {"name": "weighted_sum", "params": {"terms": [{"name": "dice", "weight": 2.0}, {"name": "bce", "weight": 1.0}]}}
LOSSES = {
    "dice": {"name": "dice"},
    "focal over pixels": {"name": "focal", "params": {"mean_over": "pixels"}},
    "sum": SUM,
}
each_loss = pytest.mark.parametrize("config", LOSSES.values(), ids=LOSSES)


@pytest.fixture(autouse=True)
def tiled():
    """Compute by an implementation with plans."""
    with implementation("tiled"):
        yield


def tensors():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, 6, 5, generator=generator, requires_grad=True)
    t = (torch.rand(x.shape, generator=generator) < 0.4).to(torch.uint8)
    return x, t, torch.rand(x.shape, generator=generator) * (torch.rand(x.shape, generator=generator) < 0.7)


@each_loss
def test_a_weighted_call_has_a_plan_of_its_own(config):
    """By shape and type of the weight; a call without one keeps its own, and None is no weight."""
    x, t, w = tensors()
    loss = lossreg.build(config)
    bare, plans = loss.plan(x, t), [loss.plan(x, t, weight=each) for each in (w, w[:, 0], w > 0)]
    assert None not in (bare, *plans)
    assert len({id(plan) for plan in (bare, *plans)}) == 4
    assert loss.plan(x, t, weight=w) is plans[0]
    assert loss.plan(x, t, weight=None) is bare


@each_loss
def test_weights_of_zero_and_one_are_an_ignored_class(config):
    """In value and gradient: bool weights, and the target's 255 at the same pixels."""
    x, t, w = tensors()
    loss = lossreg.build(config)
    marked = t.masked_fill(w == 0, 255)
    parts = [loss] if config is not SUM else loss.parts
    value = loss(x, t, weight=w > 0)
    (found,) = torch.autograd.grad(value, x)
    for part in parts:
        part.ignore_index = 255
    expected = loss(x, marked)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected, x)[0])


@each_loss
def test_weights_may_add_up_to_less_than_one(config):
    """A mean over weights has no unit, and smooth=0 gives Dice none."""
    x, t, w = tensors()
    config = {"name": "focal"} if "focal" in repr(config) else config
    loss = lossreg.build(config)
    for part in loss.modules():
        if isinstance(part, Dice):
            part.smooth = 0.0
    torch.testing.assert_close(loss(x, t, weight=w / 1000), loss(x, t, weight=w))


@pytest.mark.parametrize("over, whole", [("weights", 4.0), ("pixels", 2.0)])
def test_a_mean_divides_by_the_weights_or_by_their_number(over, whole):
    """Logits of 0 lose log 2 each: (1 + 3) log 2 over the weights, 4, or over the pixels that have one, 2."""
    x, t, w = torch.zeros(1, 1, 3), torch.tensor([[[1, 0, 1]]]), torch.tensor([[[1.0, 3.0, 0.0]]])
    value = lossreg.build("bce", mean_over=over)(x, t, weight=w)
    assert value.item() == pytest.approx(4 * math.log(2) / whole, rel=1e-6)


def test_a_weight_that_learns_is_refused_after_others():
    """The plan was made for tensors of this shape and type; with gradients off there is nothing to refuse."""
    x, t, w = tensors()
    loss = lossreg.build("dice")
    value = loss(x, t, weight=w)
    w.requires_grad_()
    with pytest.raises(lossreg.InputError, match=r"weight requires a gradient.*weight\.detach\(\)"):
        loss(x, t, weight=w)
    with torch.no_grad():
        assert loss(x, t, weight=w) == value


def test_a_weight_changed_before_the_gradient_is_an_error_of_torch():
    """As for any tensor that a gradient needs."""
    x, t, w = tensors()
    value = lossreg.build("dice")(x, t, weight=w)
    w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


@each_loss
def test_the_gradient_can_be_differentiated(config):
    """By the terms of the reference implementation, in which the weights still count."""
    x, t, w = (each.double() if each.is_floating_point() else each for each in tensors())
    x = x.detach().requires_grad_()
    loss = lossreg.build(config)
    found = []
    for name in ("tiled", "reference"):
        with implementation(name):
            value = loss(x, t, weight=w)
        with implementation("reference"):
            (slope,) = torch.autograd.grad(value, x, create_graph=True)
            found.append(torch.autograd.grad(slope.square().sum(), x)[0])
    torch.testing.assert_close(*found)


def test_a_weight_of_inference_mode_has_a_gradient_beside_it():
    x, t, w = tensors()
    with torch.inference_mode():
        frozen = w.clone()
    values = [lossreg.build("dice")(x, t, weight=each) for each in (w, frozen)]
    gradients = [torch.autograd.grad(value, x)[0] for value in values]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda w: w - 2, r"weight contains -.*finite and >= 0; set 0 for positions to ignore"),
        (lambda w: w / 0, r"weight contains (nan|inf), weights must be finite"),
        (lambda w: w[:1], r"weight must have shape"),
        (lambda w: w.long(), r"weight must be floating or bool, got torch.int64; use weight.float\(\)"),
        (lambda w: w.tolist(), r"weight must be a tensor, got list; use torch.as_tensor\(weight\)"),
    ],
    ids=["negative", "not finite", "of another shape", "integers", "no tensor"],
)
def test_wrong_weights_are_refused(wrong, message):
    """Also after a call with right ones."""
    x, t, w = tensors()
    loss = lossreg.build("dice")
    loss(x, t, weight=w)
    with pytest.raises(lossreg.LossregError, match=message):
        loss(x, t, weight=wrong(w))


class Scaled(Dice):
    """Dice of other logits, without weights."""

    def passes(self, input, target):
        return super().passes(input / 2, target)

    def formulas(self, task, classes):
        return super().formulas(task, classes)


def test_a_subclass_without_weights_says_so():
    x, t, w = tensors()
    with pytest.raises(lossreg.InputError, match=r"Scaled .*weight"):
        Scaled()(x, t, weight=w)
