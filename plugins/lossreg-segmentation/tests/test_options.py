"""Every parameter of every loss changes the result, and the table of them is complete."""

from __future__ import annotations

import pytest
import torch

import lossreg

from .cases import INDEPENDENT, NAMES, hard_target, logits

pytestmark = pytest.mark.usefixtures("on_reference")

# Parameter -> two values, of which each result differs from the other.
OWN = {
    "bce": {"pos_weight": (None, 2.0)},
    "cross_entropy": {},
    "focal": {"alpha": (0.25, 0.75), "gamma": (2.0, 1.0)},
    "dice": {"smooth": (1.0, 0.0)},
    "jaccard": {"smooth": (1.0, 0.0)},
    "tversky": {"alpha": (0.5, 0.7), "beta": (0.5, 0.7), "smooth": (1.0, 0.0)},
    "focal_tversky": {"alpha": (0.5, 0.7), "beta": (0.5, 0.7), "smooth": (1.0, 0.0), "gamma": (0.75, 2.0)},
    "bce_dice_focal": {
        "bce_weight": (0.4, 0.8),
        "dice_weight": (0.4, 0.8),
        "focal_weight": (0.2, 0.8),
        "alpha": (0.25, 0.75),
        "gamma": (2.0, 1.0),
        "smooth": (1.0, 0.0),
    },
}
SHARED = {
    "task": ("multilabel", "multiclass"),
    "ignore_index": (None, 1),
    "class_weight": (None, [0.5, 2.0, 1.0]),
    "batch": (False, True),
    "absent": ("score", "zero"),
    "reduction": ("mean", "sum"),
}
# Without softmax there is one task for three channels: it differs from "auto", which must not guess it.
GUESS = {"task": ("multilabel", "auto")}
TABLE = {name: own | SHARED | (GUESS if name in INDEPENDENT else {}) for name, own in OWN.items()}
# Beside them: examples of unequal size, without which the mean over all pixels is the mean of the examples' means.
BESIDE = {"batch": {"ignore_index": 0}}
ROWS = [pytest.param(name, key, id=f"{name}-{key}") for name, row in TABLE.items() for key in row]


def tensors():
    """Three masks of four examples of unequal sizes, with some pixels ignored; no example has a pixel of class 1."""
    t = hard_target("multilabel")
    t[:, 1] = 0
    t[0, 0, 0], t[1, 0, 1:] = 1, 0
    return logits("multilabel"), t


def result(name, params):
    """The value, or the type of the error."""
    try:
        value = lossreg.build({"name": name, "params": {"task": "multilabel", **params}})(*tensors())
    except lossreg.InputError as error:
        return type(error).__name__
    return value.item()


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_exactly_the_parameters_of_the_manifest(name):
    """A new parameter without a row fails here. `distributed` needs several ranks: test_distributed.py."""
    declared = lossreg.losses.entry(name).metadata["parameters"]["properties"]
    assert {*TABLE[name], "distributed"} == set(declared)


@pytest.mark.parametrize("name, key", ROWS)
def test_changing_a_parameter_changes_the_result(name, key):
    """No parameter is accepted and dropped."""
    one, other = (result(name, {key: value} | BESIDE.get(key, {})) for value in TABLE[name][key])
    if key == "task" and name in INDEPENDENT:
        assert (one > 0, other) == (True, "InputError")
    else:
        assert abs(one - other) > 1e-6
        assert min(one, other) > 0


@pytest.mark.parametrize("absent", ["score", "ignore", "zero", "false_positives"])
@pytest.mark.parametrize("name", NAMES)
def test_each_policy_for_absent_classes_is_another_value(name, absent):
    others = {"score", "ignore", "zero", "false_positives"} - {absent}
    assert result(name, {"absent": absent}) not in {result(name, {"absent": other}) for other in others}


@pytest.mark.parametrize("name, key, value", [("tversky", "alpha", 0.9), ("tversky", "beta", 0.9)])
def test_tversky_weighs_false_positives_by_alpha_and_false_negatives_by_beta(name, key, value):
    """Alpha and beta apart, not their sum alone: on false positives only alpha counts."""
    x = torch.full((1, 1, 4, 4), 30.0)
    mask = torch.ones(1, 1, 4, 4)
    mask[..., 2:] = 0
    inputs = {"alpha": (x, mask), "beta": (torch.where(mask > 0, x, -x), torch.ones_like(mask))}
    base = {"name": name, "params": {"alpha": 0.5, "beta": 0.5, "smooth": 0.0}}
    for side, (logit, target) in inputs.items():
        before = lossreg.build(base)(logit, target).item()
        after = lossreg.build({"name": name, "params": base["params"] | {key: value}})(logit, target).item()
        # TP 8 and 8 wrong pixels: 1 - 8 / (8 + 0.9 * 8).
        assert before == pytest.approx(1 / 3, rel=1e-6)
        assert after == pytest.approx(0.9 / 1.9 if side == key else 1 / 3, rel=1e-6)


def test_tversky_contains_dice_and_jaccard():
    """alpha = beta = 1/2 with half the smooth is Dice, 1/1 is Jaccard, and gamma 1 takes the power off."""
    x, t = logits("binary"), hard_target("binary")

    def value(name, **params):
        return lossreg.build({"name": name, "params": params})(x, t).item()

    assert value("tversky", smooth=0.5) == pytest.approx(value("dice", smooth=1.0), rel=1e-12)
    assert value("tversky", alpha=1, beta=1) == pytest.approx(value("jaccard"), rel=1e-12)
    assert value("focal_tversky", gamma=1.0) == pytest.approx(value("tversky"), rel=1e-12)


def test_focal_contains_cross_entropy():
    """gamma 0 without alpha is BCE; with softmax, cross-entropy."""
    x, t = logits("binary"), hard_target("binary")
    focal = lossreg.build({"name": "focal", "params": {"gamma": 0.0, "alpha": None}})
    assert focal(x, t).item() == pytest.approx(lossreg.build("bce")(x, t).item(), rel=1e-12)
    x, t = logits("multiclass"), hard_target("multiclass")
    assert focal(x, t).item() == pytest.approx(lossreg.build("cross_entropy")(x, t).item(), rel=1e-12)


def test_one_number_for_all_channels_is_the_list_of_equal_numbers():
    """pos_weight as a number and per channel; alpha per class of one everywhere is none."""
    x, t = logits("multilabel"), hard_target("multilabel")
    number, numbers = (
        lossreg.build({"name": "bce", "params": {"task": "multilabel", "pos_weight": p}})(x, t)
        for p in (2.0, [2.0] * 3)
    )
    assert torch.equal(number, numbers)
    x, t = logits("multiclass"), hard_target("multiclass")
    none, ones = (lossreg.build({"name": "focal", "params": {"alpha": a}})(x, t) for a in (None, [1.0] * 3))
    assert torch.equal(none, ones)
