"""Dice with squares, log-cosh Dice and generalized Dice: values by hand, peers and edges."""

from __future__ import annotations

import warnings

import pytest
import torch

import lossreg
from lossreg_segmentation.dice_variants import GeneralizedDice, LogCoshDice, SquaredDice
from lossreg_segmentation.overlap import Dice
from lossreg_segmentation.statistics import implementation

from .cases import TASKS, hard_target, logits, soft_target, value_and_gradient, without_class

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecation warnings from MONAI's own imports
    monai = pytest.importorskip("monai.losses", reason="MONAI is not installed: parity with it is not checked")

pytestmark = pytest.mark.usefixtures("on_reference")

LOSSES = {"squared_dice": SquaredDice, "log_cosh_dice": LogCoshDice, "generalized_dice": GeneralizedDice}

each_loss = pytest.mark.parametrize("name", LOSSES)
each_task = pytest.mark.parametrize("task", TASKS)


def test_literal_values():
    """Four pixels, two of them in the mask, p = 1/2: squares halve what the prediction weighs."""
    x, t = torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([[[[1, 1], [0, 0]]]])
    assert SquaredDice(smooth=0.0)(x, t).item() == pytest.approx(1 - 2 / 3, rel=1e-12)
    assert SquaredDice(smooth=1.0)(x, t).item() == pytest.approx(1 - 3 / 4, rel=1e-12)
    assert LogCoshDice(smooth=0.0)(x, t).item() == pytest.approx(0.12011450695827752, rel=1e-12)  # log cosh 1/2
    assert GeneralizedDice(smooth=0.0)(x, t).item() == pytest.approx(1 / 2, rel=1e-12)


def test_generalized_dice_of_two_classes_by_hand():
    """Volumes 1 and 3, weights 1 and 1/9, p = 1/2: 1 - 2 (1/2 + 3/18) / (3 + 5/9)."""
    x, t = torch.zeros(1, 2, 2, 2, dtype=torch.float64), torch.tensor([[[1, 0], [0, 0]]])
    assert GeneralizedDice(smooth=0.0)(x, t).item() == pytest.approx(1 - (4 / 3) / (32 / 9), rel=1e-12)
    assert GeneralizedDice(smooth=0.0, weighting="uniform")(x, t).item() == pytest.approx(1 / 2, rel=1e-12)
    # The first class, of volume 3, weighs twice: 2/9.
    weighed = GeneralizedDice(smooth=0.0, class_weight=[2.0, 1.0])(x, t).item()
    assert weighed == pytest.approx(1 - 2 * (1 / 2 + 3 / 9) / (3 + 10 / 9), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.uint8, torch.bool])
@each_task
def test_squared_dice_of_a_mask_is_the_same_in_every_type(task, dtype):
    """A float target takes the code path of soft targets."""
    x, t = logits(task), hard_target(task)
    masks = torch.nn.functional.one_hot(t, 3).movedim(-1, 1) if task == "multiclass" else t
    loss = SquaredDice(task=task)
    assert loss(x, masks.to(dtype)).item() == pytest.approx(loss(x, t).item(), rel=1e-12)


def test_squared_dice_is_least_where_prediction_and_soft_target_agree():
    """Sum (p - t)^2 over the squares, so 0 there; with min(p, t) it would be negative."""
    t = torch.full((1, 1, 4, 4), 0.3, dtype=torch.float64)
    loss = SquaredDice(smooth=0.0)
    value, gradient = value_and_gradient(loss, torch.logit(t), t)
    assert value.item() == pytest.approx(0.0, abs=1e-12)
    assert gradient.abs().max() < 1e-12
    for other in (-3.0, 0.0, 3.0):
        assert loss(torch.full_like(t, other), t) > 0.05


def test_autocast_leaves_the_product_of_soft_targets_in_float32():
    x, t = logits("binary", dtype=torch.float32, scale=4.0), soft_target("binary").float()
    expected = SquaredDice()(x, t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(SquaredDice()(x, t), expected)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@each_loss
def test_a_rank_without_examples_adds_nothing_to_a_global_batch(name, dtype):
    """Its gradient has the shape of its empty batch, and no error is raised."""
    with implementation("tiled"):
        loss = LOSSES[name](batch=True, distributed="global")
        value, gradient = value_and_gradient(loss, torch.zeros(0, 1, 4, 4), torch.zeros(0, 1, 4, 4, dtype=dtype))
    assert value == 0
    assert gradient.shape == (0, 1, 4, 4)


def test_log_cosh_keeps_its_digits_near_zero():
    """Half of the square of Dice there; exp-based forms lose it below 1e-3 in float32."""
    t = torch.ones(1, 1, 8, 8)
    x = torch.full((1, 1, 8, 8), 9.0)
    value, gradient = value_and_gradient(LogCoshDice(), x, t)
    distance, slope = value_and_gradient(Dice(), x, t)
    assert value.item() == pytest.approx(distance.item() ** 2 / 2, rel=1e-4)
    torch.testing.assert_close(gradient, distance * slope, rtol=1e-4, atol=0)


def test_squared_dice_equals_that_of_monai():
    """squared_pred=True with the smooth in numerator and denominator."""
    for task in TASKS:
        x, t = logits(task), hard_target(task)
        activation = {"softmax": True, "to_onehot_y": True} if task == "multiclass" else {"sigmoid": True}
        theirs = monai.DiceLoss(**activation, squared_pred=True, smooth_nr=0.5, smooth_dr=0.5)
        expected = theirs(x, t.unsqueeze(1) if task == "multiclass" else t.double())
        torch.testing.assert_close(SquaredDice(task=task, smooth=0.5)(x, t), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("batch", [False, True], ids=["per example", "batch"])
@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_generalized_dice_equals_that_of_monai_without_smooth(task, weighting, batch):
    """With an absent class. MONAI's smooth is added to sums of 1 / T^k; ours to sums of (T_min / T)^k."""
    x, t = logits(task), without_class(hard_target(task), task)
    activation = {"softmax": True, "to_onehot_y": True} if task == "multiclass" else {"sigmoid": True}
    smooth = 0.5 if weighting == "uniform" else 0.0  # there the weights are the same
    theirs = monai.GeneralizedDiceLoss(**activation, w_type=weighting, smooth_nr=smooth, smooth_dr=smooth, batch=batch)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    value = GeneralizedDice(task=task, weighting=weighting, smooth=smooth, batch=batch)(one, t)
    expected = theirs(other, t.unsqueeze(1) if task == "multiclass" else t)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-8)
    value.backward()
    expected.backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-9)


def test_smooth_does_not_swamp_large_volumes():
    """All wrong in 512 x 512 pixels costs 1; a peer, with 1e-5 next to weights of 1 / T^2 = 6e-11, gives 0.43."""
    t = torch.zeros(1, 512, 512, dtype=torch.int64)
    t[:, :256] = 1
    x = torch.where(torch.stack([t, 1 - t], 1) > 0, 30.0, -30.0)
    assert GeneralizedDice()(x, t) > 0.999
    assert monai.GeneralizedDiceLoss(softmax=True, to_onehot_y=True)(x, t.unsqueeze(1)) < 0.8


def test_a_class_without_pixels_has_the_largest_weight_or_none():
    """False positives of an absent class cost as much as in the smallest class; under "ignore" nothing."""
    x, t = logits("multilabel"), hard_target("multilabel")
    t[:, 1] = 0
    _, gradient = value_and_gradient(GeneralizedDice(task="multilabel"), x, t)
    assert (gradient[:, 1] > 0).all()
    ignore = GeneralizedDice(task="multilabel", absent="ignore")
    value, gradient = value_and_gradient(ignore, x, t)
    assert (gradient[:, 1] == 0).all()
    present = GeneralizedDice(task="multilabel")(x[:, [0, 2]], t[:, [0, 2]])
    assert value.item() == pytest.approx(present.item(), rel=1e-12)
    assert ignore(x, 0 * t) == 0


def test_generalized_dice_of_no_class_present_weighs_all_alike():
    """No 1 / T^k is finite, so each weight is 1."""
    x = logits("multilabel")
    value = GeneralizedDice(task="multilabel", reduction="none")(x, torch.zeros_like(x))
    torch.testing.assert_close(value, 1 - 1 / (x.sigmoid().sum((1, 2, 3)) + 1))


def test_a_class_of_weight_zero_leaves_generalized_dice():
    """Its volume has no effect on the scale either."""
    x, t = logits("multilabel"), hard_target("multilabel")
    t[:, 0, 1:] = 0
    value, gradient = value_and_gradient(GeneralizedDice(task="multilabel", class_weight=[0.0, 1.0, 1.0]), x, t)
    assert value.item() == pytest.approx(GeneralizedDice(task="multilabel")(x[:, 1:], t[:, 1:]).item(), rel=1e-12)
    assert (gradient[:, 0] == 0).all()


@pytest.mark.parametrize("absent", ["zero", "false_positives"])
def test_generalized_dice_has_no_value_per_class_for_a_policy(absent):
    message = f"absent='{absent}' has no meaning for generalized Dice, .* use 'score' .* or 'ignore'"
    with pytest.raises(lossreg.InputError, match=message):
        GeneralizedDice(absent=absent)


def test_a_misspelled_weighting_is_refused():
    with pytest.raises(lossreg.InputError, match="weighting is 'square', 'simple' or 'uniform', got 'squared'"):
        GeneralizedDice(weighting="squared")


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@pytest.mark.parametrize("absent", ["score", "ignore"])
def test_an_example_of_which_no_present_class_weighs_is_finite(weighting, absent):
    """Only background, whose weight is 0: an infinite smallest volume times 0 was NaN."""
    x, t = logits("multiclass"), hard_target("multiclass")
    t[0] = 0
    loss = GeneralizedDice(class_weight=[0.0, 1.0, 1.0], absent=absent, weighting=weighting)
    value, gradient = value_and_gradient(loss, x, t)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert (gradient[1:] != 0).any()


def test_squared_dice_takes_rows_without_pixels():
    """(N, C), with float targets too."""
    x, t = torch.randn(4, 1), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    torch.testing.assert_close(SquaredDice()(x, t), SquaredDice()(x, t.long()))
