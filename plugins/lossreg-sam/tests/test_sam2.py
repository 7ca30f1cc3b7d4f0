"""The loss of SAM 2 equals two independent formulas: components, gradients, the chosen mask."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from lossreg_sam.sam2 import SAM2

from .oracles_sam2 import (
    IOUS,
    MASKS,
    NAMES,
    OWN,
    RELEASED,
    SCORES,
    changed,
    gradients,
    leaves,
    per_object,
    total,
    video,
    with_absent,
)

SWITCHES = ("supervise_all_iou", "iou_use_l1_loss", "pred_obj_scores")


@pytest.mark.parametrize("own", [{}, OWN], ids=["defaults", "own"])
@pytest.mark.parametrize("switches", list(itertools.product([False, True], repeat=3)), ids=str)
@pytest.mark.parametrize("masks", [(1,), (3,), (3, 1, 1), (3, 3, 3)], ids=str)
def test_every_component_equals_the_formula(masks, switches, own):
    """Per object, and in their mean; of one and several steps and masks, with an absent object and with a tie."""
    settings = RELEASED | own | dict(zip(SWITCHES, switches, strict=True))
    outs, targets = with_absent(masks=masks)
    output = SAM2(**settings).evaluate(outs, targets)
    expected, chosen = per_object(outs, targets, settings)
    weights = np.array([settings["weight_dict"][name] for name in NAMES])
    assert tuple(output.components) == NAMES
    for name, value in zip(NAMES, expected.mean(0), strict=True):
        assert output.components[name].item() == pytest.approx(value, rel=1e-10), name
    np.testing.assert_allclose(output.per_example.numpy(), expected @ weights, rtol=1e-10)
    assert output.total.item() == pytest.approx((expected @ weights).mean(), rel=1e-10)
    found = gradients(output.total, outs)
    wanted = gradients(total(outs, targets, settings, chosen), outs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


def test_the_cases_contain_different_choices_and_a_tie():
    """Different masks are chosen, and the tie is at the least cost: the first of the two wins."""
    outs, targets = with_absent()
    _, chosen = per_object(outs, targets, RELEASED)
    assert len(set(itertools.chain(*(of_frame[0] for of_frame in chosen)))) > 1
    assert chosen[0][0][2] == 1
    found = gradients(SAM2()(outs, targets), outs)[0]  # to the first masks (3, 3, H, W) of frame 0
    assert [m for m in range(3) if found[2, m].any()] == [1]


@pytest.mark.parametrize("preset", ["constructor", "sam2.1"])
def test_gradients_equal_finite_differences(preset):
    """To masks, IoUs and scores, with an absent object."""
    outs, targets = video(frames=1, masks=(2,), objects=2, size=(2, 2))
    targets[0, 1] = 0
    loss = SAM2(preset=preset, weight_dict=OWN["weight_dict"])

    def value(masks, ious, scores):
        return loss([{MASKS: [masks], IOUS: [ious], SCORES: [scores]}], targets)

    assert torch.autograd.gradcheck(value, tuple(leaves(outs)))


def test_literal_values_of_one_object():
    """Two masks of two pixels with the target 1, 0. All logits 0: focal log 2 / 16 (alpha and 1 - alpha are 1/2).

    p = 1/2: Dice 1 - (2 / 2 + 1) / (1 + 1 + 1) = 1/3. Mask 1 predicts the first pixel with a logit of log 3, p = 3/4:
    Dice 1 - 5/2 / (5/4 + 1 + 1) = 3/13 with 1/2 on the other, and focal (log(4/3) / 16 + log 2 / 4) / 4; IoU 1.
    """
    masks = torch.zeros(1, 2, 1, 2, dtype=torch.float64)
    masks[0, 1, 0, 0] = math.log(3)
    ious = torch.tensor([[0.25, 0.5]], dtype=torch.float64)
    outs = [{MASKS: [masks], IOUS: [ious], SCORES: [torch.zeros(1, 1, dtype=torch.float64)]}]
    targets = torch.tensor([[[[1, 0]]]])
    found = SAM2(focal_alpha=0.5).as_dict(outs, targets)
    assert found["loss_mask"].item() == pytest.approx((math.log(4 / 3) / 16 + math.log(2) / 4) / 4, rel=1e-12)
    assert found["loss_dice"].item() == pytest.approx(3 / 13, rel=1e-12)
    assert found["loss_iou"].item() == pytest.approx((0.25 + 0.5) / 2, rel=1e-12)  # the first has IoU 0
    assert found["loss_class"].item() == pytest.approx(math.log(2), rel=1e-12)
    best_only = SAM2(focal_alpha=0.5, supervise_all_iou=False, iou_use_l1_loss=False).as_dict(outs, targets)
    assert best_only["loss_iou"].item() == pytest.approx(0.25, rel=1e-12)
    # Absent: nothing but the score counts.
    absent = SAM2().as_dict(outs, targets * 0)
    assert [absent[name].item() for name in NAMES] == pytest.approx([0, 0, 0, math.log(2)], rel=1e-12)
    # Both pixels of p = 1/2 and no object predicted: the empty target is trained on. IoU of empty on empty is 0.
    trained = SAM2(pred_obj_scores=False).as_dict(changed(outs, torch.zeros_like), targets * 0)
    assert trained["loss_dice"].item() == pytest.approx(1 - 1 / 2, rel=1e-12)
    assert trained["loss_mask"].item() == pytest.approx(0.75 * 0.25 * math.log(2), rel=1e-12)
    assert trained["loss_iou"] == trained["loss_class"] == 0


def test_the_choice_is_by_the_weighted_cost():
    """One mask is better by focal, the other by Dice: the weights decide which one is trained."""
    masks = torch.tensor([[[[-6.0] * 25], [[-1.0] * 24 + [6.0]]]], dtype=torch.float64).requires_grad_()
    targets = torch.zeros(1, 1, 1, 25)
    targets[..., -1] = 1
    outs = [{MASKS: [masks], IOUS: [torch.rand(1, 2)], SCORES: [torch.rand(1, 1)]}]
    trained = []
    for focal, dice in ((20.0, 0.0), (0.0, 1.0)):
        loss = SAM2(weight_dict={"loss_mask": focal, "loss_dice": dice, "loss_iou": 0.0})(outs, targets)
        (gradient,) = torch.autograd.grad(loss, masks)
        trained.append([m for m in range(2) if gradient[0, m].any()])
    assert trained == [[1], [0]]


def test_the_iou_of_all_masks_is_trained_or_that_of_the_chosen_one():
    outs, targets = video(frames=1, masks=(3,))
    for everything, count in ((True, 9), (False, 3)):
        to_ious = gradients(SAM2(supervise_all_iou=everything)(outs, targets), outs)[1]
        assert (to_ious != 0).sum() == count


def test_an_absent_object_trains_nothing_but_its_score():
    """And without object scores it trains its mask and IoU, and no score."""
    outs, targets = video(frames=1, masks=(3,))
    targets[0, 1] = 0
    masks, ious, scores = gradients(SAM2()(outs, targets), outs)
    assert not masks[1].any()
    assert not ious[1].any()
    assert (scores != 0).all()
    assert masks[0].any()
    masks, ious, scores = gradients(SAM2(pred_obj_scores=False)(outs, targets), outs)
    assert masks[1].any()
    assert ious[1].any()
    assert not scores.any()


def test_nan_shows_whether_or_not_the_object_is_there():
    """SAM 2 multiplies absent objects by 0, which NaN survives; a finite loss would hide a NaN gradient."""
    for key in (MASKS, IOUS):
        outs, targets = video(frames=1, masks=(3,))
        targets[0, 1] = 0
        with torch.no_grad():
            outs[0][key][0][1] = float("nan")
        assert SAM2()(outs, targets).isnan()


def test_frames_may_differ_in_their_steps():
    """A frame without clicks has one step, one that is corrected has several."""
    (first, _), targets = video(masks=(3,))
    (_, second), _ = video(masks=(3, 1, 1))
    expected, _ = per_object([first, second], targets, RELEASED)
    found = SAM2()([first, second], targets).item()
    assert found == pytest.approx(expected.mean(0) @ [20.0, 1.0, 1.0, 1.0], rel=1e-10)
