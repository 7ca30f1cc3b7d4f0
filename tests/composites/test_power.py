"""`power`: each value of the inner loss, of each class, raised before the mean."""

from __future__ import annotations

import pytest
import torch

import lossreg


def power(loss, **params):
    return lossreg.build({"name": "power", "params": {"loss": loss, **params}})


def tensors():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=generator).requires_grad_()
    return x, torch.randint(0, 2, (3, 2, 4, 4), generator=generator)


DICE = {"name": "dice", "params": {"task": "multilabel"}}


def values(x, t):
    """Compute Dice of each mask."""
    p, t = x.sigmoid().flatten(2), t.flatten(2)
    return 1 - (2 * (p * t).sum(2) + 1) / (p.sum(2) + t.sum(2) + 1)


@pytest.mark.parametrize("exponent", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("log", [False, True])
def test_each_mask_is_raised_before_the_mean(exponent, log):
    x, t = tensors()
    inner = values(x, t)
    expected = ((-(1 - inner).log() if log else inner) ** exponent).mean()
    found = power(DICE, exponent=exponent, log=log)(x, t)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(value, x)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)


def test_the_defaults_are_the_loss_itself():
    x, t = tensors()
    torch.testing.assert_close(power(DICE)(x, t), lossreg.build(DICE)(x, t), rtol=1e-12, atol=0)


def test_a_perfect_and_a_hopeless_mask_have_a_finite_loss_and_gradient():
    """A score of 0 counts as 1e-7: -log 1e-7 = 16.118."""
    inner = {"name": "dice", "params": {"smooth": 0.0}}
    for x, t, expected in [(500.0, 1.0, 0.0), (-500.0, 1.0, 16.11809565095832)]:
        leaf, target = torch.full((1, 1, 2, 2), x, dtype=torch.float64, requires_grad=True), torch.full((1, 1, 2, 2), t)
        for exponent in (0.3, 1.0):
            loss = power(inner, exponent=exponent, log=True)(leaf, target)
            assert loss.item() == pytest.approx(expected**exponent, abs=0.01)
            assert torch.autograd.grad(loss, leaf)[0].isfinite().all()


@pytest.mark.parametrize("log", [False, True])
def test_an_image_that_is_ignored_whole_has_the_value_0(log):
    """As under the loss itself; the floor of the base would make it 0.008."""
    x, t = tensors()
    inner = {"name": "cross_entropy", "params": {"ignore_index": 255}}
    loss = power(inner, exponent=0.3, log=log)(x, torch.full_like(t[:, 0], 255))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, x)[0].any()


def test_components_and_values_per_example_and_class_are_raised():
    x, t = tensors()
    output = power(DICE, exponent=2.0).evaluate(x, t)
    inner = values(x, t).detach()
    assert output.components.keys() == {"dice"}
    torch.testing.assert_close(output.per_example, (inner**2).mean(1))
    torch.testing.assert_close(output.per_class["dice"], inner**2)


def test_a_sum_shares_the_pass_of_the_inner_loss():
    x, t = tensors()
    terms = [{"weight": 0.8, **power_config()}, {"weight": 0.2, "name": "bce", "params": {"task": "multilabel"}}]
    total = lossreg.build({"name": "weighted_sum", "params": {"terms": terms}})
    assert len(total.passes(x, t)) == 2
    expected = 0.8 * (-(1 - values(x, t)).log()).pow(
        0.3
    ).mean() + 0.2 * torch.nn.functional.binary_cross_entropy_with_logits(x, t.double())
    torch.testing.assert_close(total(x, t), expected, rtol=1e-12, atol=0)


def power_config():
    return {"name": "power", "params": {"loss": DICE, "exponent": 0.3, "log": True}}


def test_an_exponent_of_zero_is_refused():
    with pytest.raises(lossreg.InvalidConfigError, match="exponent"):
        power(DICE, exponent=0)


@pytest.mark.parametrize("params", [{"exponent": 0.5}, {"exponent": 2.0}, {"log": True}])
def test_values_that_have_no_power_are_never_clamped_in_silence(params):
    """Below 0, or above 1 where 1 - value is a score: an error on a CPU, and NaN where no value can be read."""
    x, t = tensors()
    assert power(DICE, **params)(x, t).isfinite()
    loss = power({"name": "negative"}, **params)
    with pytest.raises(lossreg.InputError, match=r"negative inside power has values .*; they must be (>= 0|in .0, 1)"):
        loss(x, t)
    assert torch.func.vmap(lambda x: loss(x, t))(x.detach()[None]).isnan().all()


def test_scores_of_values_above_1_have_no_logarithm():
    """Cross-entropy is no share, so that 1 - value is no score; the advice, beside power, works."""
    x, t = tensors()
    bce = {"name": "bce", "params": {"task": "multilabel"}}
    with pytest.raises(lossreg.InputError, match=r"bce inside power .* in \[0, 1\], as 1 - value is the score"):
        power(bce, log=True)(10 * x, t)
    assert power(bce, exponent=2.0)(10 * x, t).isfinite()
    assert lossreg.build("weighted_sum", terms=[bce, power_config()])(10 * x, t).isfinite()


@pytest.fixture(autouse=True)
def negative():
    """A loss whose values are below 0."""

    class Negative(lossreg.Loss):
        def terms(self, input, target):
            return {"negative": lossreg.Term(-input.sigmoid().flatten(2).mean(2))}

    with lossreg.losses.scope() as registry:
        registry.register("negative")(Negative)
        yield
