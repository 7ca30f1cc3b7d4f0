"""The overlap of soft targets: sum min(p, t) or sum p t."""

from __future__ import annotations

import pytest
import torch

import lossreg
from lossreg_segmentation import mask_pass
from lossreg_segmentation.statistics import implementation

from .cases import value_and_gradient

NAMES = ("dice", "jaccard", "tversky", "focal_tversky", "log_cosh_dice", "generalized_dice")
OWN = {
    "tversky": {"alpha": 0.3, "beta": 0.9},
    "focal_tversky": {"alpha": 0.3, "beta": 0.9, "gamma": 0.6},
    "generalized_dice": {"weighting": "simple"},
}

pytestmark = pytest.mark.usefixtures("on_reference")
each_loss = pytest.mark.parametrize("name", NAMES)


def build(name, overlap, **params):
    return lossreg.build(
        {"name": name, "params": OWN.get(name, {}) | {"overlap": overlap, "task": "multilabel"} | params}
    )


def masks(soft):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64) * 2
    t = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    return x, t if soft else (t > 0.6).double()


def by_formula(name, x, t):
    p = x.sigmoid().flatten(2)
    t = t.flatten(2)
    tp, of_p, of_t = (p * t).sum(2), p.sum(2), t.sum(2)
    dice = 1 - (2 * tp + 1) / (of_p + of_t + 1)
    tversky = 1 - (tp + 1) / (tp + 0.3 * (of_p - tp) + 0.9 * (of_t - tp) + 1)
    weights = of_t.amin(1, keepdim=True) / of_t
    found = {
        "dice": dice,
        "jaccard": 1 - (tp + 1) / (of_p + of_t - tp + 1),
        "tversky": tversky,
        "focal_tversky": tversky**0.6,
        "log_cosh_dice": torch.cosh(dice).log(),
        "generalized_dice": 1 - (2 * (weights * tp).sum(1) + 1) / ((weights * (of_p + of_t)).sum(1) + 1),
    }
    return found[name].mean()


@each_loss
def test_the_product_of_soft_targets_is_that_of_the_formula(name):
    """In value and gradient, in float64."""
    x, t = masks(soft=True)
    value, gradient = value_and_gradient(build(name, "product"), x, t)
    expected, slope = value_and_gradient(lambda x, t: by_formula(name, x, t), x, t)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-14)
    assert build(name, "min")(x, t) < value  # min(p, t) is more than p t


@pytest.mark.parametrize("how", ["reference", "tiled"])
@each_loss
def test_hard_targets_have_one_overlap(name, how):
    """For targets of every type."""
    x, t = masks(soft=False)
    with implementation(how):
        for target in (t, t.long(), t.bool()):
            values = [build(name, overlap)(x, target).item() for overlap in ("min", "product")]
            assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_the_default_is_least_where_prediction_and_target_agree():
    """The product is not: it is least at hard predictions."""
    t = torch.full((1, 1, 4, 4), 0.6, dtype=torch.float64)
    agreed, hard = torch.logit(t), torch.full_like(t, 30.0)
    assert build("dice", "min")(agreed, t) < 1e-12 < build("dice", "min")(hard, t)
    assert build("dice", "product")(hard, t) < build("dice", "product")(agreed, t)


def test_policies_weights_and_batches_apply_to_the_product():
    """As to the minimum: an empty mask is left out, and a pixel of weight 2 is there twice."""
    x, t = masks(soft=True)
    t[0, 0] = 0
    loss = build("dice", "product", absent="ignore", batch=False, reduction="none")
    torch.testing.assert_close(loss(x, t)[0], by_formula("dice", x[:1, 1:], t[:1, 1:]), rtol=1e-12, atol=0)
    doubled = build("dice", "product")(torch.cat([x, x], 2), torch.cat([t, t], 2))
    torch.testing.assert_close(
        build("dice", "product")(x, t, weight=torch.full_like(t, 2.0)), doubled, rtol=1e-12, atol=0
    )


def test_squared_dice_of_a_soft_target_reads_the_pixels_once(monkeypatch):
    """In one pass with Dice, where its product once was a read of its own."""
    statistics, calls = mask_pass.mask_statistics, []
    monkeypatch.setattr(mask_pass, "mask_statistics", lambda *a, **k: calls.append(k["needs"]) or statistics(*a, **k))
    loss = lossreg.build({"name": "weighted_sum", "params": {"terms": ["squared_dice", "dice"]}})
    x, t = masks(soft=True)
    loss.evaluate(x[:, :1].requires_grad_(), t[:, :1]).total.backward()
    assert len(calls) == 1
    assert {"product", "intersection"} <= calls[0]


def test_an_unknown_overlap_names_both():
    with pytest.raises(lossreg.InputError, match="overlap is 'min' or 'product', got 'sum'"):
        type(build("dice", "min"))(overlap="sum")
