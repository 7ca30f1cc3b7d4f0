"""Wasserstein Dice: values by hand and of MONAI, and checks of the distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.losses import GeneralizedWassersteinDiceLoss

import lossreg
from lossreg_segmentation.wasserstein_dice import WassersteinDice

from .cases import hard_target, logits, value_and_gradient, without_class

# Exact in float32. The background is the farthest from all; classes 1 and 2 are close.
TREE = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.25], [1.0, 0.25, 0.0]]

each_weighting = pytest.mark.parametrize("weighting", ["default", "GDL"])


@each_weighting
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_monai_agrees(weighting, scale):
    """Value and gradient of class indices; distances are divided by the largest."""
    x, t = logits("multiclass"), without_class(hard_target("multiclass"), "multiclass")
    matrix = np.array(TREE) * scale
    monai = GeneralizedWassersteinDiceLoss(matrix, weighting_mode=weighting, smooth_nr=0.5, smooth_dr=0.5)
    ours = WassersteinDice(distances=matrix.tolist(), weighting=weighting, smooth=0.5)
    # Its weights are always float32.
    tolerance = 1e-10 if weighting == "default" else 1e-6
    for found, expected in zip(value_and_gradient(ours, x, t), value_and_gradient(monai, x, t), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=1e-9)


def test_a_value_by_hand():
    """Pixels of class 1, 1 and 0, predicted as 1, 2 and 0: W = 0, 1/4, 0, so 1 - 2 * 1.75 / (2 * 1.75 + 0.25)."""
    x, t = F.one_hot(torch.tensor([[1, 2, 0]]), 3).movedim(-1, 1) * 100.0, torch.tensor([[1, 1, 0]])
    assert WassersteinDice(distances=TREE, smooth=0.0)(x, t).item() == pytest.approx(1 - 3.5 / 3.75, rel=1e-6)
    # GDL: class 1 weighs 1/3, the background 1/2.
    correct, errors = 1.75 / 3 + 1 / 2, 0.25 / 3
    gdl = WassersteinDice(distances=TREE, smooth=0.0, weighting="GDL")(x, t).item()
    assert gdl == pytest.approx(1 - 2 * correct / (2 * correct + errors), rel=1e-6)


def test_two_classes_are_the_dice_of_the_foreground():
    """Distance 1: TP is the sum of p over the mask, E the sum of all errors."""
    x, t = logits("binary"), hard_target("binary")
    two = torch.cat([torch.zeros_like(x), x], 1)
    p, mask = x.sigmoid().flatten(1), t.flatten(1)
    score = (2 * (p * mask).sum(1) + 1) / (p.sum(1) + mask.sum(1) + 1)
    assert WassersteinDice()(two, t[:, 0]).item() == pytest.approx((1 - score).mean().item(), rel=1e-12)


def test_a_near_mistake_costs_less_than_a_far_one():
    t = torch.ones(1, 4, 4, dtype=torch.int64)
    near, far = (F.one_hot(torch.full_like(t, c), 3).movedim(-1, 1) * 20.0 for c in (2, 0))
    ours = WassersteinDice(distances=TREE)
    assert ours(near, t) < 0.2 < 0.9 < ours(far, t)
    assert ours(F.one_hot(t, 3).movedim(-1, 1) * 20.0, t) < 1e-6


def test_false_positives_on_an_empty_image_have_a_gradient():
    """All background: E counts the probability of other classes."""
    x = torch.zeros(1, 3, 4, 4)
    value, gradient = value_and_gradient(WassersteinDice(), x, torch.zeros(1, 4, 4, dtype=torch.int64))
    assert value.item() == pytest.approx(1 - 1 / (1 + 16 * 2 / 3), rel=1e-6)
    assert (gradient[:, 0] < 0).all()
    assert (gradient[:, 1:] > 0).all()


def test_distances_move_with_the_module_and_stay_out_of_checkpoints():
    ours = WassersteinDice(distances=[[0, 4, 4], [4, 0, 1], [4, 1, 0]])
    assert ours.state_dict() == {}
    assert ours.distances.tolist() == TREE
    assert ours.half().distances.tolist() == TREE


@pytest.mark.parametrize(
    "distances, message",
    [
        ([[0, 1], [1, 0, 1]], r"distances must be C rows of C numbers, got 2 rows of \[2, 3\] numbers"),
        ([[0, 1, 1], [1, 0, 1]], r"C rows of C numbers, got 2 rows of \[3, 3\] numbers"),
        ([[0, -1], [-1, 0]], "contains negative or infinite numbers; give finite numbers >= 0"),
        ([[0, float("inf")], [float("inf"), 0]], "contains negative or infinite numbers"),
        ([[0, float("nan")], [float("nan"), 0]], "contains negative or infinite numbers"),
        ([[0.5, 1], [1, 0]], r"has \[0.5, 0.0\] on its diagonal, which must be 0"),
        ([[0, 1], [0.5, 0]], r"not symmetric: \[0\]\[1\] is 1, \[1\]\[0\] is 0.5; make them equal"),
        ([[0, 0], [0, 0]], "0 between all classes, so no prediction is wrong"),
    ],
)
def test_a_matrix_that_is_no_distance_is_refused(distances, message):
    with pytest.raises(lossreg.InputError, match=message):
        WassersteinDice(distances=distances)


def test_what_has_no_meaning_is_refused():
    x, t = logits("multiclass"), hard_target("multiclass")
    with pytest.raises(lossreg.InputError, match=r"class_weight has no meaning for WassersteinDice.* distances="):
        WassersteinDice(class_weight=[1.0, 2.0, 3.0])
    with pytest.raises(lossreg.InputError, match="absent='zero' has no meaning for softmax WassersteinDice"):
        WassersteinDice(absent="zero")
    with pytest.raises(lossreg.InputError, match="weighting is 'default' or 'GDL', got 'gdl'"):
        WassersteinDice(weighting="gdl")
    with pytest.raises(
        lossreg.ShapeError, match="distances is 2 x 2, input has 3 classes; give one row and one column"
    ):
        WassersteinDice(distances=[[0, 1], [1, 0]])(x, t)
    with pytest.raises(lossreg.InputError, match="WassersteinDice is for multiclass, got a binary target"):
        WassersteinDice()(logits("binary"), hard_target("binary"))
    with pytest.raises(lossreg.ShapeError, match="nothing is broadcast"):
        WassersteinDice()(x[:1], t)


def test_autocast_changes_nothing():
    """Autocast would compute the product of distances and target in bfloat16."""
    x, t = logits("multiclass", dtype=torch.float32), hard_target("multiclass")
    ours = WassersteinDice(distances=[[0.0, 1.0, 0.9], [1.0, 0.0, 0.3], [0.9, 0.3, 0.0]])
    expected = ours(x, t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(x, t), expected)
