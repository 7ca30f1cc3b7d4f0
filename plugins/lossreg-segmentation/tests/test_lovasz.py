"""Lovasz losses: values by hand, values of the authors and of kornia, sorted by rows or in one call."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lossreg_segmentation import lovasz
from lossreg_segmentation.lovasz import LovaszHinge, LovaszSoftmax, jaccard_increments

from .cases import hard_target, logits, soft_target, value_and_gradient, without_class

CASES = [(LovaszHinge, "binary"), (LovaszHinge, "multilabel"), (LovaszSoftmax, "multiclass")]

each_case = pytest.mark.parametrize("loss, task", CASES, ids=[f"{loss.__name__}-{task}" for loss, task in CASES])


def authors_increments(t):
    """Compute the gradient of the Jaccard loss as in the authors' code and its copies."""
    total = t.sum()
    jaccard = 1 - (total - t.cumsum(0)) / (total + (1 - t).cumsum(0))
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])


def test_a_hinge_by_hand():
    """Margins 1 - x (2t - 1) of 3, 2, 1/2 and -1; J of 1, 2 and 3 mistakes with two target pixels: 1/2, 2/3, 1."""
    x = torch.tensor([[[-2.0, 1.0, 0.5, -2.0]]], dtype=torch.float64)
    t = torch.tensor([[[1, 0, 1, 0]]])
    assert LovaszHinge()(x, t).item() == pytest.approx(3 * 1 / 2 + 2 * (2 / 3 - 1 / 2) + 0.5 * (1 - 2 / 3), rel=1e-14)


def test_a_softmax_by_hand_counts_the_pixels_of_a_class_not_its_number():
    """Two pixels of class 2. A peer used the class number as the mask, so they counted as 4: .367 instead of .55."""
    p = torch.tensor([[[0.7, 0.1], [0.2, 0.3], [0.1, 0.6]]], dtype=torch.float64)
    # Class 2 errs by .9 and .4, each half of its union; the others have no pixel, so that their largest error counts.
    assert LovaszSoftmax()(p.log(), torch.tensor([[2, 2]])).item() == pytest.approx(
        (0.7 + 0.3 + (0.9 + 0.4) / 2) / 3, rel=1e-14
    )


def test_a_wrong_pixel_of_sixteen():
    """Logits of +-60 are hard decisions: the loss is 1 - IoU, the mean over both classes of 1 - 7/8 and 1 - 8/9."""
    t = torch.zeros(1, 4, 4, dtype=torch.int64)
    t[:, :2] = 1
    decided = t.clone()
    decided[0, 0, 0] = 0
    x = F.one_hot(decided, 2).movedim(-1, 1) * 60.0
    assert LovaszSoftmax()(x, t).item() == pytest.approx((1 / 8 + 1 / 9) / 2, rel=1e-6)


def assert_same(ours, peer, x, t):
    """Compare value and gradient."""
    for found, expected in zip(value_and_gradient(ours, x, t), value_and_gradient(peer, x, t), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_the_hinge_equals_that_of_the_authors_and_of_kornia(seed):
    """Value and gradient, float64."""
    x, t = logits("binary", seed=seed), hard_target("binary", seed=seed + 10)

    def authors(x, t):
        values = []
        for row, mask in zip(x.flatten(1), t.flatten(1).double(), strict=True):
            errors, order = (1 - row * (2 * mask - 1)).sort(descending=True)
            values.append(torch.dot(errors.relu(), authors_increments(mask[order])))
        return torch.stack(values).mean()

    assert_same(LovaszHinge(), authors, x, t)
    kornia = pytest.importorskip("kornia.losses", reason="kornia is not installed: equality with it is not checked")
    assert_same(LovaszHinge(), lambda x, t: kornia.lovasz_hinge_loss(x, t[:, 0]), x, t)


@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_softmax_equals_that_of_the_authors_and_of_kornia(seed, present):
    """Value and gradient, float64; absent="ignore" is the authors' classes="present", which kornia does not have."""
    x, t = logits("multiclass", seed=seed), without_class(hard_target("multiclass", seed=seed + 10), "multiclass")

    def authors(x, t):
        values = []
        for row, classes in zip(x.softmax(1).flatten(2), t.flatten(1), strict=True):
            terms = []
            for c, p in enumerate(row):
                mask = (classes == c).double()
                if mask.sum() == 0 and present:
                    continue
                errors, order = (mask - p).abs().sort(descending=True)
                terms.append(torch.dot(errors, authors_increments(mask[order])))
            values.append(torch.stack(terms).mean())
        return torch.stack(values).mean()

    ours = LovaszSoftmax(absent="ignore" if present else "score")
    assert_same(ours, authors, x, t)
    if not present:
        kornia = pytest.importorskip("kornia.losses", reason="kornia is not installed: equality with it is not checked")
        assert_same(ours, kornia.lovasz_softmax_loss, x, t)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_case
def test_large_rows_are_sorted_one_by_one_to_the_same_result(loss, task, dtype, monkeypatch):
    """A size at which the CPU sorts by radix, with equal errors, ignored pixels and an empty mask."""
    size = (200, 200)
    x, t = logits(task, batch=2, size=size, dtype=dtype).round(decimals=1), hard_target(task, batch=2, size=size)
    t = without_class(t, task)
    t[1, ..., :50, :] = 9
    ours = loss(task=task, ignore_index=9)
    assert x[0, 0].numel() >= lovasz.RADIX_LENGTH
    value, _ = value_and_gradient(ours, x, t)
    monkeypatch.setattr(lovasz, "RADIX_LENGTH", 10**9)
    torch.testing.assert_close(value, value_and_gradient(ours, x, t)[0], rtol=1e-6, atol=0)


def test_rows_and_one_go_have_the_same_increments(monkeypatch):
    """Without equal errors, to the last bit."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.randperm(2 * 3 * 40000, generator=generator).view(2, 3, 40000).float()
    masks = (torch.rand(2, 3, 40000, generator=generator) < 0.3).float()
    by_rows = jaccard_increments(errors, masks)
    monkeypatch.setattr(lovasz, "RADIX_LENGTH", 10**9)
    torch.testing.assert_close(by_rows, jaccard_increments(errors, masks), rtol=1e-6, atol=0)


def test_increments_keep_their_digits_where_the_jaccard_loss_is_near_one():
    """float32 against float64 on 400 x 400 pixels; the difference of neighbours is off by more than a hundredth."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.randperm(160000, generator=generator).view(1, 1, -1)
    masks = torch.rand(1, 1, 160000, generator=generator) < 0.5
    exact = jaccard_increments(errors.double(), masks.double())
    assert ((jaccard_increments(errors.float(), masks.float()) - exact).abs() / exact.clamp_min(1e-30)).max() < 1e-5
    t = masks[0, 0][errors[0, 0].argsort(descending=True)]
    difference = authors_increments(t.float()) / authors_increments(t.double()) - 1
    assert difference.abs().quantile(0.5) > 1e-3
    assert exact.sum().item() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@each_case
def test_half_precision_equals_float32_of_the_rounded_logits(loss, task, dtype):
    """512 x 512 pixels: their number is above the largest float16. Autocast changes nothing."""
    x, t = logits(task, batch=1, size=(512, 512), dtype=dtype), hard_target(task, batch=1, size=(512, 512))
    ours = loss(task=task)
    value, gradient = value_and_gradient(ours, x, t)
    expected, wide = value_and_gradient(ours, x.float(), t)
    assert torch.equal(value, expected)
    assert torch.equal(gradient, wide.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(x.float(), t), expected)


@each_case
def test_right_costs_less_than_wrong_and_a_step_down_the_gradient_helps(loss, task):
    t = hard_target(task)
    masks = F.one_hot(t, 3).movedim(-1, 1) if task == "multiclass" else t
    right = (masks * 2.0 - 1) * 12
    assert loss(task=task)(right, t) < 1e-6
    assert loss(task=task)(-right, t) > 0.99
    x = logits(task)
    value, gradient = value_and_gradient(loss(task=task), x, t)
    assert loss(task=task)(x - 0.01 * gradient, t) < value


def test_soft_classes_are_best_met_exactly_and_soft_masks_count_as_hard_ones():
    """Softmax: 0 at p = t. Hinge: a margin has no middle, so that t > 0.5 is the mask."""
    t = soft_target("multiclass")
    assert LovaszSoftmax(task="multiclass")(t.log(), t).item() == pytest.approx(0, abs=1e-12)
    assert LovaszSoftmax(task="multiclass")(t.log() * 2, t) > 0.01
    x, t = logits("binary"), soft_target("binary")
    assert torch.equal(LovaszHinge()(x, t), LovaszHinge()(x, (t > 0.5).long()))


def test_a_nan_that_counts_is_seen():
    for ours, task in ((LovaszHinge(), "binary"), (LovaszSoftmax(), "multiclass")):
        x = logits(task)
        x[0, 0, 0, 0] = torch.nan
        assert ours(x, hard_target(task)).isnan()
