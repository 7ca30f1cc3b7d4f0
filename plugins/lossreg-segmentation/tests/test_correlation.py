"""Matthews correlation: its values, its range, and where a product of sums would lose it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import lossreg
from lossreg_segmentation.correlation import MCC, correlation
from lossreg_segmentation.statistics import MaskStatistics

from . import oracles
from .cases import TASKS, arrays, hard_target, logits, target_of, value_and_gradient, without_class

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what MONAI's imports deprecate is not ours to fix
    monai = pytest.importorskip("monai.losses", reason="MONAI is not installed: parity with it is not checked")

pytestmark = pytest.mark.usefixtures("on_reference")

SIZES = {"batch": 2, "size": (2, 3)}
OPTIONS = [
    {},
    {"batch": True},
    {"class_weight": [0.5, 2.0, 0.25]},
    {"absent": "ignore"},
    {"absent": "zero"},
    {"absent": "false_positives"},
]


def mcc(p, t, smooth=1e-5):
    """From the four soft counts; a variance is at least 1e-7."""
    tp, n = oracles.overlap(p, t), p.size
    fp, fn = p.sum() - tp, t.sum() - tp
    tn = n - tp - fp - fn
    variances = [max(v, 1e-7) + smooth for v in ((tp + fp) * (tn + fn) / n, (tp + fn) * (tn + fp) / n)]
    return 1 - (tp * tn - fp * fn) / n / np.sqrt(variances[0] * variances[1])


@pytest.fixture(autouse=True)
def oracle(monkeypatch):
    monkeypatch.setitem(oracles.MASK, "mcc", mcc)


def sixteen(hits, misses, extras):
    """Sixteen certain pixels: logits and target."""
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


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("task", TASKS)
def test_it_equals_its_formula_under_every_option(task, kind, options):
    """Some pixels ignored, one example whole, one class absent; values per example average to the total."""
    if task == "binary" and "class_weight" in options:
        options = {}
    x, t = logits(task), without_class(target_of(task, kind), task)
    valid = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(5)) < 0.6
    valid[2] = False
    marked = t.masked_fill(~(valid if t.ndim == 3 else valid.unsqueeze(1)), 7)
    for smooth in (1e-5, 2.0):
        expected = oracles.per_example("mcc", *arrays(x, t), valid.flatten(1).numpy(), task, smooth=smooth, **options)
        output = MCC(task=task, ignore_index=7, smooth=smooth, **options).evaluate(x, marked)
        assert output.total.item() == pytest.approx(expected.mean(), rel=1e-10)
        if "batch" not in options:
            np.testing.assert_allclose(output.per_example.numpy(), expected, rtol=1e-10, atol=1e-15)


def test_smooth_is_tiny_by_default_and_changes_the_result():
    x, t = logits("binary"), hard_target("binary")
    assert MCC()(x, t).item() == MCC(smooth=1e-5)(x, t).item()
    assert abs(MCC(smooth=1.0)(x, t) - MCC(smooth=0.0)(x, t)) > 1e-3


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("task", TASKS)
def test_gradients_equal_finite_differences(task, kind):
    """With an ignored pixel, on plain torch in float64."""
    x, t = logits(task, **SIZES).requires_grad_(), target_of(task, kind, **SIZES)
    t[1, ..., 0, 0] = 7
    loss = MCC(task=task, ignore_index=7, smooth=0.5)
    assert torch.autograd.gradcheck(lambda x: loss(x, t), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("smooth", [0.0, 1e-5])
@pytest.mark.parametrize("task", TASKS)
def test_any_finite_logit_has_a_finite_value_and_gradient(task, smooth, dtype):
    """The slope of a root at 0 is infinite: empty and full predictions, empty and full targets."""
    signs = logits(task).sign()
    top = 3 if task == "multiclass" else 2
    targets = [hard_target(task), *(torch.full_like(hard_target(task), value) for value in range(top))]
    for pattern in (signs, torch.ones_like(signs), -torch.ones_like(signs), 0 * signs):
        for t in targets:
            value, gradient = value_and_gradient(MCC(task=task, smooth=smooth), (pattern * 1e4).to(dtype), t)
            assert 0 <= value <= 2
            assert gradient.isfinite().all()
            assert gradient.dtype == dtype


@pytest.mark.parametrize("smooth", [0.0, 1e-5])
def test_all_ignored_is_zero_and_connected(smooth):
    x = torch.full((2, 1, 3, 3), float("nan"))
    value, gradient = value_and_gradient(MCC(ignore_index=255, smooth=smooth), x, torch.full((2, 1, 3, 3), 255))
    assert value == 0
    assert (gradient == 0).all()


def test_nan_under_ignored_pixels_leaves_value_and_gradient_alone():
    x, t = logits("multilabel"), hard_target("multilabel")
    t[:, :, 0] = 255
    loss = MCC(task="multilabel", ignore_index=255)
    clean, expected = value_and_gradient(loss, x, t)
    value, gradient = value_and_gradient(loss, x.masked_fill(t == 255, float("nan")), t)
    assert torch.equal(value, clean)
    assert torch.equal(gradient, expected)


def test_a_target_without_variance_costs_one_and_gets_its_gradient_from_the_policy():
    """Nothing correlates with a constant, whatever is predicted."""
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
    """The sums round at 262144 pixels by some 0.02; what the formula adds must be no more."""
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
    """Its smooth_dr is added to the product of four sums, so the two agree where neither smooths."""
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


def test_it_does_not_split_where_the_batch_is_one():
    with pytest.raises(lossreg.InputError, match="MCC does not"):
        MCC(batch=True, reduction="none")(logits("binary"), hard_target("binary"))
