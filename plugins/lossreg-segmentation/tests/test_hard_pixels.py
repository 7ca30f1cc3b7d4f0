"""Means over the hardest pixels: values by hand, special cases, and ties of equally hard pixels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from lossreg_segmentation.hard_pixels import OHEMCrossEntropy, TopK
from lossreg_segmentation.pixelwise import CrossEntropy

from .cases import TASKS, hard_target, logits, value_and_gradient

WEIGHTS = [0.5, 2.0, 0.25]

each_task = pytest.mark.parametrize("task", TASKS)
each_loss = pytest.mark.parametrize("loss", [TopK, OHEMCrossEntropy])


def test_values_by_hand():
    """Costs of -log of .9, .6, .3 and .2 in a full mask."""
    x, t = torch.logit(torch.tensor([[[0.9, 0.6, 0.3, 0.2]]], dtype=torch.float64)), torch.ones(1, 1, 4)
    hard = -(math.log(0.3) + math.log(0.2)) / 2
    assert TopK(k=0.5)(x, t).item() == pytest.approx(hard, rel=1e-12)
    assert TopK(k=0.7)(x, t).item() == pytest.approx(hard, rel=1e-12)
    assert TopK()(x, t).item() == pytest.approx(-math.log(0.2), rel=1e-12)
    assert OHEMCrossEntropy(threshold=0.5)(x, t).item() == pytest.approx(hard, rel=1e-12)
    assert OHEMCrossEntropy()(x, t).item() == pytest.approx((2 * hard - math.log(0.6)) / 3, rel=1e-12)
    assert OHEMCrossEntropy(threshold=0.1, min_share=0.0)(x, t).item() == 0
    assert OHEMCrossEntropy(threshold=0.1, min_share=0.25)(x, t).item() == pytest.approx(-math.log(0.2), rel=1e-12)


def test_topk_of_one_image_equals_that_of_nnunet():
    """torch.topk of the unreduced cross-entropy, int(n k / 100) of them."""
    x, t = logits("multiclass", batch=1, size=(20, 20)), hard_target("multiclass", batch=1, size=(20, 20))
    costs = F.cross_entropy(x, t, reduction="none").flatten()
    for percent in (3, 10, 50):
        expected = costs.topk(int(400 * percent / 100)).values.mean()
        assert TopK(k=percent / 100)(x, t).item() == pytest.approx(expected.item(), rel=1e-12)


@each_task
def test_all_pixels_are_cross_entropy(task):
    """k = 1, and a threshold above every p_t; with class weights as well."""
    x, t = logits(task), hard_target(task)
    for options in ({}, {"class_weight": WEIGHTS}) if task != "binary" else ({},):
        expected = CrossEntropy(task=task, **options)(x, t).item()
        assert TopK(task=task, k=1.0, **options)(x, t).item() == pytest.approx(expected, rel=1e-12)
        ohem = OHEMCrossEntropy(task=task, threshold=1.0, **options)
        assert ohem(x, t).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ours", [TopK(k=0.5), OHEMCrossEntropy(threshold=0.1, min_share=0.5)], ids=["topk", "ohem"])
def test_equally_hard_pixels_share_the_last_places(ours):
    """Two places: one for the hardest pixel and a third of the other for each of three, in any order."""
    x = torch.tensor([[[-1.0, 0.5, 0.5, 0.5]]], dtype=torch.float64)
    value, gradient = value_and_gradient(ours, x, torch.ones(1, 1, 4))
    slopes = -(1 - x.sigmoid()) / 2
    torch.testing.assert_close(gradient, slopes * torch.tensor([1, 1 / 3, 1 / 3, 1 / 3]))
    assert value.item() == pytest.approx(-(x[0, 0, :2].sigmoid().log().mean()).item(), rel=1e-12)


@each_task
@each_loss
def test_only_the_hardest_pixels_have_a_gradient(loss, task):
    own = {"k": 0.2} if loss is TopK else {"threshold": 1e-6, "min_share": 0.2}
    _, gradient = value_and_gradient(loss(task=task, **own), logits(task), hard_target(task))
    moved = (gradient != 0).any(1, keepdim=True) if task == "multiclass" else gradient != 0
    assert (moved.flatten(2).sum(2) == 3).all()


@each_task
@each_loss
def test_a_nan_that_counts_is_seen(loss, task):
    """NaN does not rank as hard, but must not be dropped as easy either."""
    x = logits(task)
    x[0, 0, 0, 0] = torch.nan
    assert loss(task=task)(x, hard_target(task)).isnan()


@each_loss
def test_an_ignored_pixel_is_never_among_the_hardest(loss):
    """A logit of 0 costs log 2; the five that count are all right and cost less, and one of them is kept."""
    x, t = torch.tensor([[[3.0, 4.0, 5.0, 6.0, 7.0, 0.0, 0.0]]], dtype=torch.float64), torch.ones(1, 1, 7)
    t[..., 5:] = 255
    own = {"k": 0.2} if loss is TopK else {"min_share": 0.2}
    value, gradient = value_and_gradient(loss(ignore_index=255, **own), x, t)
    assert value.item() == pytest.approx(math.log1p(math.exp(-3)), rel=1e-12)
    assert (gradient != 0).tolist() == [[[True, False, False, False, False, False, False]]]


def test_all_soft_pixels_under_class_weights_are_weighted_cross_entropy():
    """The weights are inside the sum over classes, as in torch."""
    x, t = logits("multiclass"), logits("multiclass", seed=5).softmax(1)
    weights = [0.5, 2.0, 0.25]
    expected = CrossEntropy(task="multiclass", class_weight=weights)(x, t)
    torch.testing.assert_close(TopK(task="multiclass", k=1.0, class_weight=weights)(x, t), expected)


@pytest.mark.parametrize("k, kept", [(0.29, 29), (0.57, 57), (0.58, 58), (0.295, 29)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_share_is_that_of_exact_numbers(k, kept, dtype):
    """0.29 * 100 is 28.999... in binary: 29 pixels are kept, for every dtype of the logits."""
    x = torch.arange(100, dtype=dtype).view(1, 1, 100)
    x.requires_grad_()
    TopK(k=k)(x, torch.zeros(1, 1, 100)).backward()
    assert int((x.grad != 0).sum()) == kept
