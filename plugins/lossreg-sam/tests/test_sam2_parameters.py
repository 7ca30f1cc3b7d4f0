"""The parameters of the loss of SAM 2: presets, parameters that override them, invalid values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossreg
from lossreg_sam.sam2 import SAM2

from .oracles_sam2 import (
    NAMES,
    OWN,
    RELEASED,
    per_object,
    video,
    with_absent,
)

SWITCHES = ("supervise_all_iou", "iou_use_l1_loss", "pred_obj_scores")
CONSTRUCTOR = RELEASED | dict.fromkeys(SWITCHES, False)


@pytest.mark.parametrize(
    "params, expected",
    [
        ({}, RELEASED),
        ({"preset": "sam2.1", "iou_use_l1_loss": False}, RELEASED | {"iou_use_l1_loss": False}),
        ({"weight_dict": OWN["weight_dict"]}, RELEASED | {"weight_dict": OWN["weight_dict"]}),
        ({"preset": "constructor", "weight_dict": RELEASED["weight_dict"]}, CONSTRUCTOR),
        (
            {"preset": "constructor", "weight_dict": RELEASED["weight_dict"], "supervise_all_iou": True},
            CONSTRUCTOR | {"supervise_all_iou": True},
        ),
        (RELEASED | {"preset": "constructor"}, RELEASED),
        (
            {"focal_alpha": -1.0, "focal_alpha_obj_score": 0.25},
            RELEASED | {"focal_alpha": -1, "focal_alpha_obj_score": 0.25},
        ),
        ({"focal_alpha": 0.0}, RELEASED | {"focal_alpha": 0.0}),  # the background alone, not all alike
    ],
)
def test_a_preset_says_what_is_left_out_and_a_given_parameter_wins(params, expected):
    outs, targets = with_absent()
    output = SAM2(**params).evaluate(outs, targets)
    weights = np.array([expected["weight_dict"][name] for name in NAMES])
    found = per_object(outs, targets, expected)[0].mean(0) @ weights
    assert output.total.item() == pytest.approx(found, rel=1e-10)


def test_the_weight_of_the_score_is_zero_where_it_is_left_out():
    """As in SAM 2; the score is logged even so, and its gradient is 0."""
    weights = {"loss_mask": 20.0, "loss_dice": 1.0, "loss_iou": 1.0}
    outs, targets = video()
    output = SAM2(weight_dict=weights).evaluate(outs, targets)
    assert output.components["loss_class"] > 0
    assert output.total.item() == pytest.approx(sum(w * output.components[k].item() for k, w in weights.items()))


CHANGES = {
    "preset": "constructor",
    "weight_dict": OWN["weight_dict"],
    "focal_alpha": 0.5,
    "focal_gamma": 1.0,
    "supervise_all_iou": False,
    "iou_use_l1_loss": False,
    "pred_obj_scores": False,
    "focal_gamma_obj_score": 2.0,
    "focal_alpha_obj_score": 0.25,
}


@pytest.mark.parametrize("name", CHANGES)
def test_changing_a_parameter_changes_the_result(name):
    outs, targets = with_absent()
    base = {"weight_dict": RELEASED["weight_dict"]}
    assert abs(SAM2(**base)(outs, targets) - SAM2(**base | {name: CHANGES[name]})(outs, targets)) > 1e-4


@pytest.mark.parametrize(
    "params, message",
    [
        ({"preset": "sam3"}, "preset must be 'constructor' or 'sam2.1', got 'sam3'"),
        (
            {"preset": "constructor"},
            "has no default weights; give weight_dict with loss_mask, loss_dice, loss_iou, lo",
        ),
        (
            {"weight_dict": {**RELEASED["weight_dict"], "loss_box": 1.0}},
            r"unknown keys \['loss_box'\]; allowed are los",
        ),
        ({"weight_dict": {"loss_mask": 1.0, "loss_iou": 1.0}}, "weight_dict lacks loss_dice; give 0 for a component"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(lossreg.InputError, match=message):
        SAM2(**params)


def test_all_parameters_in_a_config():
    """By the schema: wrong types, ranges and names raise with the parameter's name; a YAML's integers are numbers."""
    with lossreg.losses.scope() as registry:
        if "sam2" not in registry:
            registry.register("sam2")(SAM2)
        yaml = {**RELEASED, "focal_gamma": 2, "focal_alpha_obj_score": -1, "preset": "constructor"}
        outs, targets = video()
        assert torch.equal(lossreg.build({"name": "sam2", "params": yaml})(outs, targets), SAM2()(outs, targets))
        for params in (
            {"focal_gamma": -1.0},
            {"focal_alpha": 1.5},
            {"preset": "sam"},
            {"weight_dict": {"loss_mask": -1}},
        ):
            with pytest.raises(lossreg.InvalidConfigError, match=next(iter(params))):
                lossreg.build({"name": "sam2", "params": params})
