"""Both losses equal independent formulas in numpy, and literals that were computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from .oracles import build, components, ragged, step

OWN = {"alpha": 0.75, "gamma": 1.5, "smooth": 0.5}
WEIGHTS = {"focal_weight": 3.0, "dice_weight": 2.0, "iou_weight": 0.5}


@pytest.mark.parametrize("absent", ["score", "ignore", "zero", "false_positives"])
@pytest.mark.parametrize("own", [{}, OWN, {"alpha": None, "gamma": 0.0}], ids=["defaults", "own", "plain"])
def test_sam_is_the_weighted_sum_of_focal_dice_and_iou(own, absent):
    """One example has no target pixels, one is ignored in part and one is all ignored."""
    x, t, iou = ragged()
    t[0] = 0
    output = build("sam", ignore_index=255, absent=absent, **own, **WEIGHTS).evaluate(x, t, iou)
    expected = components(x, t, iou, ignore_index=255, absent=absent, **own)
    np.testing.assert_allclose(output.per_example.numpy(), expected @ [3.0, 2.0, 0.5], rtol=1e-10)
    assert output.total.item() == pytest.approx((expected @ [3.0, 2.0, 0.5]).mean(), rel=1e-10)
    for name, value in zip(("focal", "dice", "iou"), expected.mean(0), strict=True):
        assert output.components[name].item() == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5])
def test_iou_prediction_is_the_squared_error_of_the_thresholded_iou(threshold):
    x, t, iou = ragged()
    output = build("iou_prediction", threshold=threshold, ignore_index=255).evaluate(x, t, iou)
    expected = components(x, t, iou, threshold=threshold, ignore_index=255)[:, 2]
    np.testing.assert_allclose(output.per_example.numpy(), expected, rtol=1e-12)


def test_the_defaults_are_those_of_segment_anything():
    """Focal and Dice 20:1, the squared error of the IoU at 1; alpha 1/4, gamma 2, smooth 1."""
    x, t, iou = step()
    expected = components(x, t, iou, alpha=0.25, gamma=2.0, smooth=1.0) @ [20.0, 1.0, 1.0]
    assert build("sam")(x, t, iou).item() == pytest.approx(expected.mean(), rel=1e-10)


def test_literal_values_of_one_mask():
    """Three of four pixels predicted, two of them right, one target pixel missed: IoU 2/4."""
    x = torch.tensor([[[[9.0, 9.0], [9.0, -9.0]]], [[[-9.0, -9.0], [-9.0, -9.0]]]])
    t = torch.tensor([[[1, 1], [0, 1]], [[0, 0], [0, 0]]])
    values = build("iou_prediction", reduction="none")(x, t, torch.tensor([[0.9], [0.9]]))
    assert values[0].item() == pytest.approx(0.16, rel=1e-6)
    # Empty on empty has IoU 0, since the union counts as at least 1.
    assert values[1].item() == pytest.approx(0.81, rel=1e-6)


def test_a_logit_of_exactly_the_threshold_is_outside_the_mask():
    x, t = torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2)
    assert build("iou_prediction")(x, t, torch.zeros(1, 1)) == 0
    assert build("iou_prediction", threshold=-0.1)(x, t, torch.zeros(1, 1)) == 1


def test_sam_2_focal_and_dice_per_mask():
    """As SAM 2 writes them: sums over the pixels of each of the M masks, then one mean over masks and objects."""
    x, t, iou = step()
    mask = t.double().unsqueeze(1).expand_as(x).flatten(2)
    p = x.sigmoid().flatten(2)
    dice = 1 - (2 * (p * mask).sum(-1) + 1) / (p.sum(-1) + mask.sum(-1) + 1)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(x.flatten(2), mask, reduction="none")
    p_t = p * mask + (1 - p) * (1 - mask)
    focal = (cross_entropy * (1 - p_t) ** 2 * (0.25 * mask + 0.75 * (1 - mask))).mean(-1)
    found = build("sam").evaluate(x, t, iou).components
    torch.testing.assert_close(found["dice"], dice.mean(), rtol=1e-10, atol=0)
    torch.testing.assert_close(found["focal"], focal.mean(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["sam", "iou_prediction"])
def test_a_target_means_the_same_in_every_type_with_and_without_channel(name, dtype):
    x, t, iou = step()
    loss = build(name)
    expected = loss(x, t, iou).item()
    assert loss(x, t.to(dtype), iou).item() == pytest.approx(expected, rel=1e-12)
    assert loss(x, t.to(dtype).unsqueeze(1), iou).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["sam", "iou_prediction"])
def test_one_target_is_shared_by_all_masks(name):
    """M predictions against one target are M steps of one mask each, averaged."""
    x, t, iou = step()
    loss = build(name)
    alone = [loss(x[:, m : m + 1], t, iou[:, m : m + 1]).item() for m in range(3)]
    assert loss(x, t, iou).item() == pytest.approx(sum(alone) / 3, rel=1e-12)


def test_soft_targets_count_as_masks_above_one_half_in_the_iou_alone():
    x, t, iou = step()
    soft = torch.where(t > 0, 0.6, 0.3).double()
    assert build("iou_prediction")(x, soft, iou) == build("iou_prediction")(x, t, iou)
    expected = components(x, soft, iou)
    assert build("sam")(x, soft, iou).item() == pytest.approx((expected @ [20.0, 1.0, 1.0]).mean(), rel=1e-10)
