"""Dice with squares, log-cosh Dice and generalized Dice: formulas, options, peers and edges."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

import lossreg
from lossreg_segmentation.dice_variants import GeneralizedDice, LogCoshDice, SquaredDice
from lossreg_segmentation.overlap import Dice
from lossreg_segmentation.statistics import implementation

from . import oracles
from .cases import TASKS, arrays, hard_target, logits, soft_target, target_of, value_and_gradient, without_class

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what MONAI's imports deprecate is not ours to fix
    monai = pytest.importorskip("monai.losses", reason="MONAI is not installed: parity with it is not checked")

pytestmark = pytest.mark.usefixtures("on_reference")

LOSSES = {"squared_dice": SquaredDice, "log_cosh_dice": LogCoshDice, "generalized_dice": GeneralizedDice}
SIZES = {"batch": 2, "size": (2, 3)}
WEIGHTS = [0.5, 2.0, 0.25]
POLICIES = [{"absent": "zero"}, {"absent": "false_positives"}]
OPTIONS = [{}, {"batch": True}, {"class_weight": WEIGHTS}, {"absent": "ignore"}]
OPTIONS += [{"absent": "ignore", "class_weight": WEIGHTS}, {"class_weight": WEIGHTS, "batch": True}]

each_loss = pytest.mark.parametrize("name", LOSSES)
each_task = pytest.mark.parametrize("task", TASKS)


def squared_dice(p, t, smooth=1.0):
    return 1 - (2 * (p * t).sum() + smooth) / ((p**2).sum() + (t**2).sum() + smooth)


def log_cosh_dice(p, t, smooth=1.0):
    return math.log(math.cosh(oracles.dice(p, t, smooth)))


@pytest.fixture(autouse=True)
def oracle(monkeypatch):
    monkeypatch.setitem(oracles.MASK, "squared_dice", squared_dice)
    monkeypatch.setitem(oracles.MASK, "log_cosh_dice", log_cosh_dice)


def generalized_dice(rows, class_weight=None, absent="score", weighting="square", smooth=1.0):
    """Over the masks [(p, t), ...] of one example; weights as Sudre et al. write them, 1 / T^k.

    Their scale is free: `smooth` is in pixels of the smallest class, so the weights are divided by the largest.
    """
    kept = [c for c, (p, t) in enumerate(rows) if p.size and not (absent == "ignore" and t.sum() == 0)]
    kept = [c for c in kept if class_weight is None or class_weight[c] > 0]
    if not kept:
        return 0.0
    power = {"square": 2, "simple": 1, "uniform": 0}[weighting]
    volumes = {c: rows[c][1].sum() for c in kept}
    finite = [1 / v**power for v in volumes.values() if v > 0] or [1.0]
    overlaps = totals = 0.0
    for c in kept:
        p, t = rows[c]
        w = (1 / volumes[c] ** power if volumes[c] > 0 else max(finite)) / max(finite)
        w *= 1.0 if class_weight is None else class_weight[c]
        overlaps += w * oracles.overlap(p, t)
        totals += w * (p.sum() + t.sum())
    return 1 - (2 * overlaps + smooth) / (totals + smooth)


def expected_values(name, x, t, valid, task, batch=False, **options):
    """(N,), or (1,) with batch=True."""
    arguments = (*arrays(x, t), np.broadcast_to(valid[:, None], arrays(x, t)[0].shape))
    if name != "generalized_dice":
        return oracles.per_example(name, *arguments, task, batch=batch, **options)
    if batch:
        arguments = tuple(np.moveaxis(a, 0, -2).reshape(1, a.shape[1], -1) for a in arguments)
    x, t, valid = arguments
    p = oracles.softmax(x, 1) if task == "multiclass" else oracles.sigmoid(x)
    rows = [[(p[b, c][v], t[b, c][v]) for c, v in enumerate(valid[b])] for b in range(len(p))]
    return np.array([generalized_dice(row, **options) for row in rows])


def marked(t, valid):
    """The target with 7 where nothing is valid."""
    return t.masked_fill(~(valid if t.ndim == 3 else valid.unsqueeze(1)), 7)


def some_valid():
    """A mask of pixels, the third example without any."""
    valid = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(5)) < 0.6
    valid[2] = False
    return valid


@pytest.mark.parametrize("ignoring", [False, True], ids=["all", "some ignored"])
@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("smooth", [1.0, 0.5])
@each_task
@each_loss
def test_they_equal_their_formulas_under_every_option(name, task, smooth, kind, ignoring):
    """One class absent from the first example; values per example average to the total."""
    x, t = logits(task), without_class(target_of(task, kind), task)
    valid = some_valid() if ignoring else torch.ones(4, 3, 5, dtype=torch.bool)
    given = marked(t, valid) if ignoring else t
    for options in OPTIONS + (POLICIES if name != "generalized_dice" else []):
        if task == "binary" and "class_weight" in options:
            continue
        expected = expected_values(name, x, t, valid.flatten(1).numpy(), task, smooth=smooth, **options)
        loss = LOSSES[name](task=task, smooth=smooth, ignore_index=7 if ignoring else None, **options)
        output = loss.evaluate(x, given)
        assert output.total.item() == pytest.approx(expected.mean(), rel=1e-10)
        assert set(output.components) == {name}
        if "batch" in options:
            assert output.per_example is None
        else:
            np.testing.assert_allclose(output.per_example.numpy(), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
@each_task
def test_each_weighting_of_volumes_is_its_formula(task, weighting):
    x, t = logits(task), without_class(hard_target(task), task)
    valid = np.ones((4, 15), dtype=bool)
    expected = expected_values("generalized_dice", x, t, valid, task, weighting=weighting)
    assert GeneralizedDice(task=task, weighting=weighting)(x, t).item() == pytest.approx(expected.mean(), rel=1e-10)


@each_loss
def test_smooth_changes_the_result_and_is_one_by_default(name):
    x, t = logits("binary"), hard_target("binary")
    assert LOSSES[name]()(x, t).item() == LOSSES[name](smooth=1.0)(x, t).item()
    assert abs(LOSSES[name](smooth=5.0)(x, t) - LOSSES[name](smooth=0.0)(x, t)) > 1e-3


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
    """A float target takes the way of soft ones."""
    x, t = logits(task), hard_target(task)
    masks = torch.nn.functional.one_hot(t, 3).movedim(-1, 1) if task == "multiclass" else t
    loss = SquaredDice(task=task)
    assert loss(x, masks.to(dtype)).item() == pytest.approx(loss(x, t).item(), rel=1e-12)


def test_squared_dice_is_least_where_prediction_and_soft_target_agree():
    """Sum (p - t)^2 over the squares, so 0 there; with min(p, t) it would be below."""
    t = torch.full((1, 1, 4, 4), 0.3, dtype=torch.float64)
    loss = SquaredDice(smooth=0.0)
    value, gradient = value_and_gradient(loss, torch.logit(t), t)
    assert value.item() == pytest.approx(0.0, abs=1e-12)
    assert gradient.abs().max() < 1e-12
    for other in (-3.0, 0.0, 3.0):
        assert loss(torch.full_like(t, other), t) > 0.05


@pytest.mark.parametrize("kind", ["hard", "soft"])
@each_task
@each_loss
def test_gradients_equal_finite_differences(name, task, kind):
    """With an ignored pixel and, in the first example, an absent class."""
    x, t = logits(task, **SIZES).requires_grad_(), without_class(target_of(task, kind, **SIZES), task)
    t[1, ..., 0, 0] = 7
    for options in ({}, {"absent": "ignore"}, {"batch": True, "smooth": 0.0}):
        loss = LOSSES[name](task=task, ignore_index=7, **options)
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, t), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("smooth", [0.0, 1.0])
@each_task
@each_loss
def test_any_finite_logit_has_a_finite_value_and_gradient(name, task, smooth, dtype):
    signs = logits(task).sign()
    top = 3 if task == "multiclass" else 2
    targets = [hard_target(task), *(torch.full_like(hard_target(task), value) for value in range(top))]
    for t in (*targets, soft_target(task).float()):
        for pattern in (signs, torch.ones_like(signs), -torch.ones_like(signs), 0 * signs):
            value, gradient = value_and_gradient(LOSSES[name](task=task, smooth=smooth), (pattern * 1e4).to(dtype), t)
            assert -1e-6 <= value <= 1
            assert gradient.isfinite().all()
            assert gradient.dtype == dtype


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
@each_loss
def test_all_ignored_is_zero_and_connected(name, task, smooth):
    x, t = torch.full_like(logits(task), float("nan")), torch.full_like(hard_target(task), 255)
    value, gradient = value_and_gradient(LOSSES[name](task=task, ignore_index=255, smooth=smooth), x, t)
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("kind", ["hard", "soft"])
@each_task
@each_loss
def test_nan_under_ignored_pixels_leaves_value_and_gradient_alone(name, task, kind):
    x, t = logits(task), marked(target_of(task, kind), some_valid())
    everywhere = (~some_valid()).unsqueeze(1).expand_as(x)
    loss = LOSSES[name](task=task, ignore_index=7)
    clean, expected = value_and_gradient(loss, x, t)
    value, gradient = value_and_gradient(loss, x.masked_fill(everywhere, float("nan")), t)
    assert torch.equal(value, clean)
    assert torch.equal(gradient, expected)
    assert (gradient[everywhere] == 0).all()


def test_autocast_leaves_the_product_of_soft_targets_in_float32():
    x, t = logits("binary", dtype=torch.float32, scale=4.0), soft_target("binary").float()
    expected = SquaredDice()(x, t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(SquaredDice()(x, t), expected)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@each_loss
def test_a_rank_without_examples_adds_nothing_to_a_global_batch(name, dtype):
    """Its gradient has the shape of nothing, and the way there raises no error."""
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
    """squared_pred=True with its smooth in both places."""
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
    """An absent class included. Its smooth is added to sums of 1 / T^k; ours to sums of (T_min / T)^k."""
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
    """All wrong in 512 x 512 pixels costs 1; with 1e-5 beside weights of 1 / T^2 = 6e-11 a peer says 0.43."""
    t = torch.zeros(1, 512, 512, dtype=torch.int64)
    t[:, :256] = 1
    x = torch.where(torch.stack([t, 1 - t], 1) > 0, 30.0, -30.0)
    assert GeneralizedDice()(x, t) > 0.999
    assert monai.GeneralizedDiceLoss(softmax=True, to_onehot_y=True)(x, t.unsqueeze(1)) < 0.8


def test_a_class_without_pixels_has_the_largest_weight_or_none():
    """False positives of an absent class cost what those of the smallest class do; under "ignore" nothing."""
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
    """No weight is finite: each is 1."""
    x = logits("multilabel")
    value = GeneralizedDice(task="multilabel", reduction="none")(x, torch.zeros_like(x))
    torch.testing.assert_close(value, 1 - 1 / (x.sigmoid().sum((1, 2, 3)) + 1))


def test_a_class_of_weight_zero_leaves_generalized_dice():
    """Its volume scales nothing either."""
    x, t = logits("multilabel"), hard_target("multilabel")
    t[:, 0, 1:] = 0
    value, gradient = value_and_gradient(GeneralizedDice(task="multilabel", class_weight=[0.0, 1.0, 1.0]), x, t)
    assert value.item() == pytest.approx(GeneralizedDice(task="multilabel")(x[:, 1:], t[:, 1:]).item(), rel=1e-12)
    assert (gradient[:, 0] == 0).all()


@each_loss
def test_a_whole_batch_does_not_split_over_examples(name):
    with pytest.raises(lossreg.InputError, match=r"reduction='none' needs .* splits over examples"):
        LOSSES[name](batch=True, reduction="none")(logits("binary"), hard_target("binary"))


@pytest.mark.parametrize("absent", ["zero", "false_positives"])
def test_generalized_dice_has_no_value_per_class_for_a_policy(absent):
    message = f"absent='{absent}' has no meaning for generalized Dice, .* use 'score' .* or 'ignore'"
    with pytest.raises(lossreg.InputError, match=message):
        GeneralizedDice(absent=absent)


def test_a_misspelled_weighting_is_refused():
    with pytest.raises(lossreg.InputError, match="weighting is 'square', 'simple' or 'uniform', got 'squared'"):
        GeneralizedDice(weighting="squared")


def test_generalized_dice_wants_one_class_weight_per_class():
    with pytest.raises(lossreg.ShapeError, match="class_weight has 2 weights, input has 3 classes; give one per class"):
        GeneralizedDice(class_weight=[1.0, 2.0])(logits("multiclass"), hard_target("multiclass"))
