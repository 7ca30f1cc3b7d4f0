"""Invalid inputs, with messages that name the input and the remedy; the debug switch."""

from __future__ import annotations

import pytest
import torch

import lossreg
from lossreg_sam import SAM

from .oracles import build, step

each_name = pytest.mark.parametrize("name", ["sam", "iou_prediction"])


@pytest.mark.parametrize(
    "shape", [(1, 4, 5), (3, 4, 5), (2, 3, 4, 5), (2, 5, 4), (2, 1, 4, 1), (2, 20), (2, 1, 1, 4, 5)], ids=str
)
@each_name
def test_targets_of_other_shapes_are_refused(name, shape):
    """A batch of one is not broadcast, and M targets for M masks would be another loss."""
    x, _, iou = step(batch=2)
    message = r"target must have shape \(2, 4, 5\) or \(2, 1, 4, 5\), one mask that the predictions share, got \(\d"
    with pytest.raises(lossreg.ShapeError, match=message):
        build(name)(x, torch.zeros(shape), iou)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 3), (3, 2), (2, 3, 1)], ids=str)
@each_name
def test_predicted_iou_is_one_number_per_mask(name, shape):
    x, t, _ = step(batch=2)
    with pytest.raises(lossreg.ShapeError, match=r"predicted_iou must have shape \(2, 3\), got ") as caught:
        build(name)(x, t, torch.zeros(shape))
    assert str(shape) in str(caught.value)


@each_name
def test_the_number_of_tensors_and_their_dimensions_are_checked(name):
    x, t, iou = step()
    with pytest.raises(lossreg.InputError, match=r"needs predicted_iou; call it as loss\(input, target, predicted_iou"):
        build(name)(x, t)
    with pytest.raises(lossreg.ShapeError, match=r"input has shape \(3, 4, 5\), expected \(N, M, H, W\) logits"):
        build(name)(x[0], t, iou)


@each_name
def test_types_are_checked(name):
    x, t, iou = step()
    with pytest.raises(
        lossreg.DTypeError, match=r"got torch.int64; give the model's output before argmax or a threshold"
    ):
        build(name)(x.long(), t, iou)
    with pytest.raises(lossreg.DTypeError, match=r"predicted_iou must be a floating tensor, got torch.int64"):
        build(name)(x, t, iou.long())
    for given in ((x.numpy(), t, iou), (x, t.numpy(), iou), (x, t, iou.numpy())):
        with pytest.raises(lossreg.DTypeError, match=r"must be a tensor, got ndarray"):
            build(name)(*given)


@each_name
def test_an_empty_batch_and_no_masks_are_refused(name):
    for sizes in ({"batch": 0}, {"masks": 0}):
        with pytest.raises(lossreg.ShapeError, match="the batch is empty"):
            build(name)(*step(**sizes))


@each_name
def test_mask_values_outside_zero_and_one_are_named(name):
    """The message has both remedies: divide a mask of 0 and 255, or mark ignored pixels by 255."""
    x, t, iou = step()
    with pytest.raises(lossreg.InputError, match=r"target contains 255, .* divide by 255, or set ignore_index=255"):
        build(name)(x, t * 255, iou)
    assert build(name, ignore_index=255)(x, t * 255, iou).isfinite()


def test_misspelled_options_are_refused_even_without_a_config():
    with pytest.raises(lossreg.InputError, match=r"absent is 'score', .* got 'skip'"):
        SAM(absent="skip")(*step())
    with pytest.raises(lossreg.InputError, match="reduction must be 'mean', 'sum' or 'none', got 'maen'"):
        SAM(reduction="maen")


@pytest.mark.parametrize("params", [{"focal_weight": -1}, {"alpha": 1.5}, {"gamma": -0.1}, {"smooth": -1}], ids=str)
def test_parameters_out_of_range_are_refused_by_name(params):
    with pytest.raises(lossreg.InvalidConfigError, match=next(iter(params))):
        build("sam", **params)


@each_name
def test_nan_logits_are_named_under_the_debug_switch(name):
    x, t, iou = step()
    x[1, 2, 3, 4] = float("nan")
    build(name)(x, t, iou)
    with lossreg.debug_checks(), pytest.raises(lossreg.InputError, match=r"1 NaN or .* first at \(1, 2, 3, 4\): nan"):
        build(name)(x, t, iou)


@each_name
def test_nan_is_never_repaired(name):
    """Without the switch, a NaN in any input of the formula makes the loss NaN."""
    x, t, iou = step()
    iou[0, 0] = float("nan")
    assert build(name)(x, t, iou).isnan()


@each_name
def test_a_batch_that_is_ignored_whole_warns_under_the_debug_switch(name):
    x, t, iou = step()
    with lossreg.debug_checks(), pytest.warns(UserWarning, match=r"every pixel .* ignored \(ignore_index=255\)"):
        build(name, ignore_index=255)(x, torch.full_like(t, 255), iou)
