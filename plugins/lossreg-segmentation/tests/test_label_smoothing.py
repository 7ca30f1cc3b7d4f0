"""Label smoothing of cross-entropy: equal to torch's, and without effect on other terms."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import lossreg
from lossreg.composites.sums import WeightedSum
from lossreg_segmentation.overlap import Dice
from lossreg_segmentation.pixelwise import BCE, CrossEntropy

from .cases import TASKS, hard_target, logits, marked, soft_target, some_valid, target_of, value_and_gradient

pytestmark = pytest.mark.usefixtures("on_reference")

WEIGHTS = [0.5, 2.0, 0.25]

each_task = pytest.mark.parametrize("task", TASKS)
each_kind = pytest.mark.parametrize("kind", ["hard", "soft"])


@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize("index", [-100, 255])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
def test_classes_equal_those_of_torch(label_smoothing, index, weight):
    """With class weights and ignored pixels, over the whole batch, in value and in gradient."""
    x, t = logits("multiclass"), marked(hard_target("multiclass"), some_valid(), index)
    weights = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    theirs = torch.nn.CrossEntropyLoss(weights, label_smoothing=label_smoothing, ignore_index=index)
    ours = CrossEntropy(label_smoothing=label_smoothing, class_weight=weight, ignore_index=index, batch=True)
    for found, expected in zip(value_and_gradient(ours, x, t), value_and_gradient(theirs, x, t), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_soft_classes_equal_those_of_torch():
    """Without class weights, by which torch does not divide there."""
    x, t = logits("multiclass"), soft_target("multiclass")
    expected = F.cross_entropy(x, t, label_smoothing=0.3)
    loss = CrossEntropy(task="multiclass", label_smoothing=0.3)
    torch.testing.assert_close(loss(x, t), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_masks_equal_binary_cross_entropy_of_the_smoothed_target(dtype):
    x, t = logits("multilabel"), hard_target("multilabel").to(dtype)
    expected = F.binary_cross_entropy_with_logits(x, t.double() * 0.8 + 0.1)
    torch.testing.assert_close(CrossEntropy(task="multilabel", label_smoothing=0.2)(x, t), expected)
    one = logits("binary"), hard_target("binary").to(dtype)
    loss = CrossEntropy(label_smoothing=0.2)
    assert loss(one[0], one[1][:, 0]).item() == loss(*one).item()


def test_literal_values():
    """p = 0.8 for the right class and 0.1 for two others; p = 0.8 for a mask; s = 0.3."""
    right, other = 0.2231435513142097, 2.302585092994046  # -log 0.8, -log 0.1
    x, t = torch.tensor([[[0.8], [0.1], [0.1]]], dtype=torch.float64).log(), torch.tensor([[0]])
    assert CrossEntropy(label_smoothing=0.3)(x, t).item() == pytest.approx(0.8 * right + 0.2 * other, rel=1e-12)
    x, t = torch.logit(torch.tensor([[[0.8]]], dtype=torch.float64)), torch.ones(1, 1, 1)
    outside = 1.6094379124341003  # -log 0.2
    assert CrossEntropy(label_smoothing=0.3)(x, t).item() == pytest.approx(0.85 * right + 0.15 * outside, rel=1e-12)


@pytest.mark.parametrize("index", [-100, 0, 1, 7])
@each_kind
@each_task
def test_nan_under_ignored_pixels_leaves_value_and_gradient_alone(task, kind, index):
    """Even if they are marked by 0 or 1: smoothed values are neither."""
    x, t = logits(task), marked(target_of(task, kind), some_valid(), index)
    ignored = t == index
    if ignored.ndim == x.ndim and task == "multiclass":
        ignored = ignored.any(1)
    everywhere = (ignored if ignored.ndim == x.ndim else ignored.unsqueeze(1)).expand_as(x)
    loss = CrossEntropy(task=task, ignore_index=index, label_smoothing=0.2)
    clean, expected = value_and_gradient(loss, x, t)
    value, gradient = value_and_gradient(loss, x.masked_fill(everywhere, float("nan")), t)
    assert torch.equal(value, clean)
    assert torch.equal(gradient, expected)
    assert (gradient[everywhere] == 0).all()
    assert (gradient[~everywhere] != 0).all()


def test_an_ignored_value_that_a_type_cannot_hold_marks_nothing():
    """Wrapping turns -100 into 156 in uint8, which is not a valid mask value."""
    x, t = logits("multilabel"), hard_target("multilabel").to(torch.uint8)
    loss = CrossEntropy(task="multilabel", label_smoothing=0.2)
    ignoring = CrossEntropy(task="multilabel", label_smoothing=0.2, ignore_index=-100)
    assert ignoring(x, t).item() == pytest.approx(loss(x, t).item(), rel=1e-12)


def test_an_example_of_classes_without_weight_is_zero():
    """Its uniform part would be divided by a sum of weights of 0."""
    x, t = logits("multiclass"), hard_target("multiclass")
    t[0] = 0
    loss = CrossEntropy(class_weight=[0.0, 1.0, 1.0], label_smoothing=0.2, reduction="none")
    assert loss(x, t)[0] == 0
    assert (loss(x, t)[1:] > 0).all()


def test_a_weighted_sum_gives_each_loss_its_own_target():
    """The others share the pass over the plain target."""
    x, t = logits("multilabel"), hard_target("multilabel")
    parts = [
        CrossEntropy(task="multilabel", label_smoothing=0.2),
        BCE(task="multilabel"),
        CrossEntropy(task="multilabel", label_smoothing=0.4),
        Dice(task="multilabel"),
    ]
    for order in (parts, parts[::-1]):
        total = WeightedSum(terms=[{"loss": part} for part in order])(x, t)
        assert total.item() == pytest.approx(sum(part(x, t).item() for part in parts), rel=1e-12)


def test_the_target_is_checked_before_it_is_smoothed():
    x = logits("multilabel")
    with pytest.raises(lossreg.InputError, match=r"target contains 2, masks must have values from 0 to 1"):
        CrossEntropy(task="multilabel", label_smoothing=0.2)(x, torch.full(x.shape, 2))
