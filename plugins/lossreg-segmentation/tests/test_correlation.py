"""Matthews correlation: its values, its range, and the precision that a product of sums would lose."""

from __future__ import annotations

import warnings

import pytest
import torch

from lossreg_segmentation.correlation import MCC, correlation
from lossreg_segmentation.statistics import MaskStatistics

from .cases import TASKS, hard_target, logits, value_and_gradient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecation warnings from MONAI's own imports
    monai = pytest.importorskip("monai.losses", reason="MONAI is not installed: parity with it is not checked")

pytestmark = pytest.mark.usefixtures("on_reference")


def sixteen(hits, misses, extras):
    """Return logits and target of sixteen certain pixels."""
    t = torch.tensor([1.0] * (hits + misses) + [0.0] * (16 - hits - misses), dtype=torch.float64)
    p = torch.tensor([1.0] * hits + [0.0] * misses + [1.0] * extras + [0.0] * (16 - hits - misses - extras))
    return ((p * 2 - 1) * 60).double().view(1, 1, 4, 4), t.view(1, 1, 4, 4)


@pytest.mark.parametrize(
    "counts, value",
    [
        ((6, 2, 2), 0.5),  # TP 6, FN 2, FP 2, TN 6: (36 - 4) / 64
        ((8, 0, 0), 0.0),
        ((0, 8, 8), 2.0),
        ((4, 4, 4), 1.0),
        ((2, 2, 6), 1 - (2 * 6 - 6 * 2) / 64),  # half of the mask and half of the rest: no correlation
        ((3, 1, 1), 1 - (3 * 11 - 1) / 48),
    ],
)
def test_literal_counts(counts, value):
    assert MCC(smooth=0.0)(*sixteen(*counts)).item() == pytest.approx(value, abs=1e-9)


def test_a_target_without_variance_costs_one_and_gets_its_gradient_from_the_policy():
    """No prediction correlates with a constant."""
    for value in (0.0, 1.0):
        found, gradient = value_and_gradient(MCC(), logits("binary"), torch.full((4, 1, 3, 5), value).double())
        assert found.item() == pytest.approx(1.0, abs=1e-12)
        assert gradient.abs().max() < 1e-12
    _, gradient = value_and_gradient(MCC(absent="false_positives"), logits("binary"), torch.zeros(4, 1, 3, 5))
    assert (gradient > 0).all()


def test_mask_and_background_count_alike():
    """Swapping them changes nothing, unlike Dice."""
    x, t = logits("binary"), hard_target("binary")
    assert MCC()(-x, 1 - t).item() == pytest.approx(MCC()(x, t).item(), rel=1e-9)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_large_image_but_for_a_few_pixels_is_near_float64(side):
    """The sums round at 262144 pixels by about 0.02; the formula must add no more than that."""
    t = torch.ones(1, 1, 512, 512)
    t[..., :9, 0] = 0
    x = (t * 2 - 1) * 14 + torch.rand(512, 512, generator=torch.Generator().manual_seed(0))
    x[..., :3, 0], x[..., 5, 5] = 2.0, -2.0
    t, x = (t, x) if side > 0 else (1 - t, -x)
    assert MCC()(x, t).item() == pytest.approx(MCC()(x.double(), t).item(), abs=0.01)


def test_the_product_of_four_sums_is_never_taken():
    """1e10 pixels of float32 sums: their product is 6e38, which is infinite."""
    whole, half, quarter = (torch.full((1, 1), value) for value in (1e10, 5e9, 2.5e9))
    sums = MaskStatistics(intersection=quarter, predicted=half, actual=half, valid=whole)
    assert correlation(sums, 0.0).item() == pytest.approx(0.0, abs=1e-6)
    sums = sums._replace(intersection=half)
    assert correlation(sums, 0.0).item() == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sums_of_a_large_half_precision_image_do_not_overflow(dtype):
    t = torch.zeros(1, 1, 512, 512, dtype=torch.uint8)
    t[..., :256] = 1
    value, gradient = value_and_gradient(MCC(), ((t * 2.0 - 1) * 12).to(dtype), t)
    assert 0 <= value < 1e-3
    assert gradient.isfinite().all()


@pytest.mark.parametrize("batch", [False, True], ids=["per example", "batch"])
@pytest.mark.parametrize("task", TASKS)
def test_monai_agrees_without_smooth(task, batch):
    """Its smooth_dr is added to the product of four sums, so the two agree only without smoothing."""
    x, t = logits(task), hard_target(task)
    activation = {"softmax": True, "to_onehot_y": True} if task == "multiclass" else {"sigmoid": True}
    theirs = monai.MCCLoss(**activation, smooth_nr=0.0, smooth_dr=0.0, batch=batch)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    value = MCC(task=task, smooth=0.0, batch=batch)(one, t)
    expected = theirs(other, t.unsqueeze(1) if task == "multiclass" else t)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-9)
