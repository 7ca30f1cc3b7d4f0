"""Invalid inputs of the loss of SAM 2, with messages that name their place and the allowed values."""

from __future__ import annotations

import pytest

import lossreg
from lossreg_sam.sam2 import SAM2

from .oracles_sam2 import (
    IOUS,
    MASKS,
    SCORES,
    video,
)

# Invalid inputs.

KEY = r"outs_per_frame\[1\]"


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda o, t: (o, t.numpy()), lossreg.DTypeError, "target_masks must be a tensor, got ndarray"),
        (lambda o, t: (o, t[0]), lossreg.ShapeError, r"target_masks has shape \(3, 4, 5\), expected \(T, N, H, W\)"),
        (lambda o, t: (o[0], t), lossreg.InputError, "outs_per_frame must be a list with one dict per frame, got dict"),
        (lambda o, t: (o[:1], t), lossreg.ShapeError, "outs_per_frame has 1 frames, target_masks 2"),
        (lambda o, t: ([], t[:0]), lossreg.ShapeError, "has 0 frames, target_masks 0.*give at least one frame"),
        (
            lambda o, t: ([o[0], o[1][MASKS]], t),
            lossreg.InputError,
            KEY + " must be a dict of lists over steps, got list",
        ),
        (lambda o, t: o[1].pop(IOUS) and None, lossreg.InputError, KEY + " lacks multistep_pred_ious$"),
        (
            lambda o, t: o[1].pop(SCORES) and None,
            lossreg.InputError,
            "lacks multistep_object.*set pred_obj_scores=False",
        ),
        (
            lambda o, t: o[1].update({IOUS: 3}),
            lossreg.InputError,
            r"\['multistep_pred_ious'\] must be a list over .*, got int",
        ),
        (
            lambda o, t: o[1].update({MASKS: o[1][MASKS][0]}),
            lossreg.InputError,
            "must be a list over steps, got Tensor",
        ),
        (
            lambda o, t: o[1][IOUS].pop() is None,
            lossreg.ShapeError,
            KEY + " must have one entry .* multistep_pred_ious 1",
        ),
        (lambda o, t: o[1].update({k: [] for k in o[1]}), lossreg.ShapeError, "at least one step, got .*high_res 0"),
        (lambda o, t: o[1][IOUS].__setitem__(1, 0.5), lossreg.DTypeError, r"ious'\]\[1\] must be a tensor, got float"),
        (lambda o, t: o[1][SCORES].__setitem__(0, t), lossreg.DTypeError, r"logits'\]\[0\] must be a floating tensor"),
        (
            lambda o, t: (o, t[:, :1]),
            lossreg.ShapeError,
            r"step 0 of outs_per_frame\[0\].*= \(1, 'M', 4, 5\) to fit target",
        ),
        (lambda o, t: (o, t[..., :2]), lossreg.ShapeError, "upsample the masks to the size of the target"),
        (lambda o, t: o[1][MASKS].__setitem__(0, o[1][MASKS][0][:, :0]), lossreg.ShapeError, "at least one mask"),
        (lambda o, t: o[1][IOUS].__setitem__(0, o[1][IOUS][1]), lossreg.ShapeError, r"\(3, 1\), expected \(3, 3\)"),
        (lambda o, t: o[1][SCORES].__setitem__(1, o[1][SCORES][1][:, 0]), lossreg.ShapeError, r"expected \(3, 1\)"),
        (lambda o, t: (o, t * 255), lossreg.InputError, "target contains 255, .* divide by 255"),
    ],
)
def test_wrong_inputs_are_named(change, error, message):
    """By place, given value and allowed values."""
    outs, targets = video()
    given = change(outs, targets)
    with pytest.raises(error, match=message):
        SAM2()(*(given if isinstance(given, tuple) else (outs, targets)))
