"""Formulas of other libraries written out, and mistakes found in them that these losses do not have."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from .cases import CASES, build, hard_target, logits


def sigmoid_focal(x, t, alpha, gamma):
    """Compute focal as fvcore and torchvision do, unreduced; a negative alpha gives both sides weight 1."""
    p = torch.sigmoid(x)
    cross_entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    p_t = p * t + (1 - p) * (1 - t)
    loss = cross_entropy * (1 - p_t) ** gamma
    return (alpha * t + (1 - alpha) * (1 - t)) * loss if alpha >= 0 else loss


@pytest.mark.parametrize("alpha", [-1, 0.0, 0.25, 0.8, 1.0])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.5])
def test_focal_equals_that_of_fvcore_and_torchvision(alpha, gamma):
    """The mean of their elements, on hard and on soft targets."""
    x = logits("multilabel")
    loss = build("focal", "multilabel", alpha=None if alpha < 0 else alpha, gamma=gamma)
    for t in (hard_target("multilabel").double(), logits("multilabel", seed=4).sigmoid()):
        torch.testing.assert_close(loss(x, t), sigmoid_focal(x, t, alpha, gamma).mean(), rtol=1e-10, atol=0)


def test_dice_equals_that_of_sam_2_per_object():
    """2 (p t) + 1 over P + T + 1, summed over the masks and divided by their number."""
    x, t = logits("binary"), hard_target("binary").double()
    p, mask = x.sigmoid().flatten(1), t.flatten(1)
    score = (2 * (p * mask).sum(-1) + 1) / (p.sum(-1) + mask.sum(-1) + 1)
    torch.testing.assert_close(build("dice")(x, t), (1 - score).sum() / 4, rtol=1e-12, atol=0)


@pytest.mark.parametrize("weights", [[2.0, 2.0, 2.0], [0.1, 5.0, 0.0], [100.0, 1.0, 1.0]], ids=str)
@pytest.mark.parametrize("name, task", [case for case in CASES if case[1] != "binary"])
def test_class_weights_never_push_a_perfect_prediction_below_zero(name, task, weights):
    """A weighted sum that is not divided by its weights gave -1 for weight 2."""
    t = hard_target(task)
    masks = F.one_hot(t, 3).movedim(-1, 1) if task == "multiclass" else t
    perfect = (masks * 2.0 - 1).double() * 60
    # The asymmetric ones take a power below 1 of the smallest 1 - TI, which is 1e-7.
    close = 0.02 if name in ("asymmetric_focal_tversky", "unified_focal") else 1e-4
    assert build(name, task, class_weight=weights)(perfect, t).item() == pytest.approx(0, abs=close)
    assert build(name, task, class_weight=weights)(perfect, t) >= 0


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice"])
def test_scaling_all_class_weights_changes_nothing(name):
    """They are weights of a mean: only their ratios count."""
    x, t = logits("multiclass"), hard_target("multiclass")
    one, ten = (build(name, class_weight=[1.0 * k, 2.0 * k, 4.0 * k])(x, t) for k in (1, 10))
    assert one.item() == pytest.approx(ten.item(), rel=1e-12)


def test_the_power_of_focal_tversky_is_taken_before_any_mean():
    """Scores 1/2 and 1 of two classes: 0.5^2 / 2 = 0.125; after the mean it would be 0.25^2 = 0.0625."""
    t = torch.ones(1, 2, 4, 4)
    x = torch.full((1, 2, 4, 4), 50.0)
    x[0, 0, :, 2:] = -50.0
    loss = build("focal_tversky", "multilabel", alpha=1.0, beta=1.0, gamma=2.0, smooth=0.0)
    assert loss(x, t).item() == pytest.approx(0.125, abs=1e-6)


@pytest.mark.parametrize("name", ["dice", "squared_dice", "jaccard", "tversky", "focal_tversky"])
def test_examples_are_scored_one_by_one_unless_batch_says_otherwise(name):
    """One large mask right and one small mask wrong: half of the masks, not a hundredth of the pixels."""
    t = torch.zeros(2, 1, 16, 16)
    t[0], t[1, 0, 0, 0] = 1, 1
    x = torch.where(t > 0, 60.0, -60.0)
    x[1] = -60.0
    assert build(name, smooth=0.0)(x, t).item() == pytest.approx(0.5, abs=1e-5)
    assert build(name, smooth=0.0, batch=True)(x, t) < 0.03


def test_softmax_focal_is_a_mean_over_pixels_not_over_pixels_and_classes():
    """-(1 - p_y)^2 log p_y with p_y = 1/4 everywhere; a peer divides by the four classes as well."""
    x, t = torch.zeros(2, 4, 3, 3), torch.ones(2, 3, 3, dtype=torch.int64)
    assert build("focal")(x, t).item() == pytest.approx(0.75**2 * 1.3862943611198906, rel=1e-6)
