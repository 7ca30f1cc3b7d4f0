"""The Hausdorff losses: values by hand, wide errors, and peers where these are correct."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossreg
from lossreg.errors import InvalidConfigError
from lossreg_segmentation.distance import signed_distance
from lossreg_segmentation.hausdorff import HausdorffDT, HausdorffER

from .cases import TASKS, hard_target, logits, value_and_gradient
from .oracles import oracle

each_task = pytest.mark.parametrize("task", TASKS)


def hard(mask):
    return torch.where(mask > 0, 60.0, -60.0)


def test_two_wrong_pixels_of_a_line_by_hand():
    """Target 1 of 5 pixels, prediction 3: wrong at distances 2 and 1 of one boundary, 1 and 2 of the other."""
    t = torch.tensor([[[1.0, 0, 0, 0, 0]]])
    x = hard(torch.tensor([[[1.0, 1, 1, 0, 0]]]))
    assert HausdorffDT()(x, t).item() == pytest.approx((5 + 5) / 5)
    assert HausdorffDT(alpha=1.0)(x, t).item() == pytest.approx((3 + 3) / 5)
    assert HausdorffDT(alpha=4.0)(x, t).item() == pytest.approx((17 + 17) / 5)


def test_a_square_missed_whole_weighs_its_own_depth():
    """Nothing is predicted, so d_p is 0: eight pixels of depth 1 and one of depth 2, squared, over 25."""
    t = torch.zeros(1, 1, 5, 5)
    t[..., 1:4, 1:4] = 1
    assert HausdorffDT()(torch.full_like(t, -60.0), t).item() == pytest.approx((8 + 4) / 25)


def test_erosions_of_a_wrong_line_by_hand():
    """Five wrong pixels: 1/3 1 1 1 1/3, then 0 5/9 1 5/9 0. Weighed by 1 and 2 to the power of alpha."""
    x, t = torch.full((1, 1, 5), 60.0), torch.zeros(1, 1, 5)
    assert HausdorffER(erosions=1)(x, t).item() == pytest.approx(11 / 3 / 5, rel=1e-6)
    assert HausdorffER(erosions=2, alpha=1.0)(x, t).item() == pytest.approx(71 / 45, rel=1e-6)
    assert HausdorffER(erosions=2, alpha=3.0)(x, t).item() == pytest.approx((11 / 3 + 8 * 19 / 9) / 5, rel=1e-6)


def test_an_erosion_of_a_wrong_square_by_hand():
    """3 x 3 in 7 x 7: 1 in the middle, 3/5 at four sides, 1/5 at four corners. A line leaves its middle, once."""
    wrong = torch.zeros(1, 1, 7, 7)
    wrong[..., 2:5, 2:5] = 1
    loss = HausdorffER(erosions=1)
    assert loss(hard(wrong), torch.zeros_like(wrong)).item() == pytest.approx((1 + 4 * 0.6 + 4 * 0.2) / 49, rel=1e-6)
    assert loss(hard(torch.zeros_like(wrong)), wrong).item() == pytest.approx(4.2 / 49, rel=1e-6)
    wrong[..., 3:, :] = 0
    assert loss(hard(wrong), wrong * 0).item() == pytest.approx(0.2 / 49, rel=1e-6)
    assert HausdorffER()(hard(wrong), wrong * 0).item() == pytest.approx(0.2 / 49, rel=1e-6)


def wide_errors(task, size):
    """Return logits and a target of a connected shape: errors that survive erosions."""
    x, t = logits(task, size=size, scale=8.0), hard_target(task, size=size)
    t[..., 1:4, :] = 1
    return (x - 6 if task != "multiclass" else x), t


@pytest.mark.parametrize("size", [(7, 6), (3, 4, 5)], ids=str)
@each_task
def test_hausdorff_er_of_wide_errors_equals_the_loop_over_pixels(task, size):
    x, t = wide_errors(task, size)
    for own in ({}, {"alpha": 0.5, "erosions": 3}):
        expected = oracle("hausdorff_er")(x, t, task=task, **own)
        found = HausdorffER(task=task, **own).evaluate(x, t).per_example
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
        assert expected.sum() > 0


@pytest.mark.parametrize("name, loss", [("hausdorff_dt", HausdorffDT), ("hausdorff_er", HausdorffER)])
@each_task
def test_ignored_pixels_are_outside_both_masks_and_leave_the_mean(task, name, loss):
    """Also one between wrong pixels, into which an erosion would spread their error."""
    x, t = wide_errors(task, (7, 6))
    valid = torch.ones(4, 7, 6, dtype=torch.bool)
    valid[:, 3, 3], valid[:, 2:5, 5] = False, False
    expected = oracle(name)(x, t, task=task, valid=valid)
    marked = t.masked_fill(~(valid if t.ndim == 3 else valid.unsqueeze(1)), 9)
    found = loss(task=task, ignore_index=9).evaluate(x, marked).per_example
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-12)
    assert expected.min() > 0


def test_far_errors_weigh_more():
    """The same nine wrong pixels, next to the target and away from it; one block, and nine pixels alone."""
    t = torch.zeros(1, 1, 24, 24)
    t[..., 2:8, 2:8] = 1
    near, far, alone = t.clone(), t.clone(), t.clone()
    near[..., 3:6, 8:11] = 1
    far[..., 18:21, 18:21] = 1
    alone[..., 12:23:4, 12:23:4] = 1
    assert HausdorffDT()(hard(far), t) > 10 * HausdorffDT()(hard(near), t)
    assert HausdorffER()(hard(alone), t) < 1e-6 < HausdorffER()(hard(far), t)


def test_no_gradient_flows_through_the_distances():
    """Its gradient is 2 (p - t) p (1 - p) times the fixed weights."""
    x, t = logits("binary", size=(7, 6)), hard_target("binary", size=(7, 6))
    _, gradient = value_and_gradient(HausdorffDT(), x, t)
    p = x.sigmoid()
    weights = signed_distance(p > 0.5).double() ** 2 + signed_distance(t).double() ** 2
    torch.testing.assert_close(gradient, 2 * (p - t) * p * (1 - p) * weights / x.numel(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_empty_and_full_masks(fill):
    """Without any boundary the distances are 0, and so is that loss; erosions see a whole image that is wrong."""
    t = torch.full((1, 1, 8, 8), fill)
    for x in (hard(t), hard(1 - t), logits("binary", batch=1, size=(8, 8), dtype=torch.float32)):
        for loss in (HausdorffDT(), HausdorffER()):
            value, gradient = value_and_gradient(loss, x, t)
            assert value.isfinite()
            assert gradient.isfinite().all()
    assert HausdorffDT()(hard(1 - t), t) == 0
    assert HausdorffER()(hard(t), t) < 1e-6
    assert HausdorffER()(hard(1 - t), t) > 1


@pytest.mark.parametrize("size", [(12, 10), (5, 6, 7)], ids=str)
def test_it_equals_monai(size):
    """MONAI's masks without a boundary have distance 0 too; it needs an explicit background."""
    monai = pytest.importorskip("monai.losses")
    x, t = logits("multilabel", size=size), hard_target("multilabel", size=size)
    peer = monai.HausdorffDTLoss(sigmoid=True, include_background=True, alpha=1.5)
    value, gradient = value_and_gradient(HausdorffDT(task="multilabel", alpha=1.5), x, t)
    expected, other = value_and_gradient(peer, x, t.double())
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-9)
    # The logarithm of that class is ours, taken of the mean.
    log = monai.LogHausdorffDTLoss(sigmoid=True, include_background=True, alpha=1.5)
    torch.testing.assert_close(torch.log(value + 1), log(x, t.double()), rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore")  # of the peer's imports
def test_it_equals_kornia_while_an_error_of_one_is_left():
    """kornia divides by the range, which is 1 for hard errors that are wide enough for the erosions."""
    kornia = pytest.importorskip("kornia.losses")
    t = torch.zeros(1, 1, 20, 20, dtype=torch.int64)
    t[..., 3:14, 3:14] = 1
    p = torch.stack([torch.ones(1, 20, 20), torch.zeros(1, 20, 20)], 1)
    expected = kornia.HausdorffERLoss(alpha=2.0, k=4)(p, t)
    assert HausdorffER(erosions=4)(torch.full((1, 1, 20, 20), -60.0), t).item() == pytest.approx(expected.item())


def test_the_loss_has_no_jump_where_the_largest_error_passes_the_threshold():
    """Divided by the range, an error of 1/2 + 1e-4 would count as one of 1."""
    t = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    below, above = (torch.full_like(t, (0.5 + e) ** 0.5).logit() for e in (-1e-4, 1e-4))
    assert HausdorffER()(below, t) == 0
    assert 0 < HausdorffER()(above, t) < 1e-3


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("hausdorff_dt", {"alpha": 0.0}, "params.alpha: expected a number > 0 and <= 4, got 0.0"),
        ("hausdorff_dt", {"alpha": 4.5}, "params.alpha: expected a number > 0 and <= 4, got 4.5"),
        ("hausdorff_dt", {"spacing": [0.0, 1.0]}, "params.spacing"),
        ("hausdorff_er", {"alpha": -1.0}, "params.alpha: expected a number > 0 and <= 4, got -1.0"),
        ("hausdorff_er", {"erosions": 0}, "params.erosions: expected an integer >= 1 and <= 20, got 0"),
        ("hausdorff_er", {"erosions": 21}, "params.erosions: expected an integer >= 1 and <= 20, got 21"),
    ],
)
def test_a_config_outside_the_bounds_is_refused(name, params, message):
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.build({"name": name, "params": params})
    assert message in str(caught.value)


def test_a_map_in_half_precision_gives_the_loss_of_float32():
    """Distances of 300 squared are above the 65504 of float16."""
    t = torch.zeros(1, 1, 300, 300)
    t[..., :20, :20] = 1
    x = torch.randn(1, 1, 300, 300, generator=torch.Generator().manual_seed(0))
    distance = signed_distance(t)
    found = HausdorffDT()(x, t, distance=distance.half())
    torch.testing.assert_close(found, HausdorffDT()(x, t, distance=distance), rtol=1e-3, atol=0)
