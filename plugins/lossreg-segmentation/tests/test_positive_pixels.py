"""Factors of the positive pixels of masks: alpha for each channel, pos_weight, and label smoothing beside it."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as torch_bce

import lossreg

from .cases import build, hard_target, logits, soft_target, value_and_gradient

WEIGHTS = [0.5, 2.0, 4.0]
ALPHA = [0.25, 0.5, 0.9]


def columns(values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


def focal(x, t, alpha, gamma, pos_weight=1.0):
    """Compute -pos_weight alpha t (1 - p)^gamma log p - (1 - alpha) (1 - t) p^gamma log(1 - p) of hard masks."""
    p = x.sigmoid()
    inside = -pos_weight * alpha * t * (1 - p) ** gamma * p.log()
    return inside - (1 - alpha) * (1 - t) * p**gamma * (1 - p).log()


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
@pytest.mark.parametrize("pos_weight", [None, 3.0, WEIGHTS])
@pytest.mark.parametrize("alpha", [0.25, ALPHA])
def test_focal_with_alpha_and_pos_weight_for_each_channel(alpha, pos_weight, gamma):
    x, t = logits("multilabel"), hard_target("multilabel")
    factors = [1.0 if one is None else columns(one) for one in (alpha, pos_weight)]
    expected = value_and_gradient(lambda x: focal(x, t.double(), factors[0], gamma, factors[1]).mean(), x)
    loss = build("focal", "multilabel", alpha=alpha, pos_weight=pos_weight, gamma=gamma)
    torch.testing.assert_close(value_and_gradient(loss, x, t), expected, rtol=1e-11, atol=1e-14)
    assert loss._by_terms("mean", (x, t), {}).item() == pytest.approx(expected[0].item(), rel=1e-12)


def test_focal_equals_monai_with_a_list_of_alpha_which_weighs_positive_pixels_alone():
    """Its number of alpha weighs negative pixels by 1 - alpha, its list by 1: the list is our pos_weight."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation warnings from MONAI's own imports
        monai = pytest.importorskip("monai.losses", reason="MONAI is not installed: parity with it is not checked")
    x, t = logits("multilabel"), hard_target("multilabel")
    expected = value_and_gradient(monai.FocalLoss(alpha=ALPHA), x, t)
    found = value_and_gradient(build("focal", "multilabel", alpha=None, pos_weight=ALPHA), x, t)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8, check_dtype=False)  # it computes in float32


def test_focal_equals_kornia_with_a_positive_weight():
    kornia = pytest.importorskip("kornia.losses", reason="kornia is not installed: parity with it is not checked")
    x, t = logits("multilabel"), hard_target("multilabel").double()

    def theirs(x):
        weights = torch.tensor(WEIGHTS, dtype=torch.float64)
        return kornia.binary_focal_loss_with_logits(x, t, alpha=0.3, gamma=1.5, reduction="mean", pos_weight=weights)

    loss = build("focal", "multilabel", alpha=0.3, gamma=1.5, pos_weight=WEIGHTS)
    torch.testing.assert_close(value_and_gradient(loss, x, t), value_and_gradient(theirs, x), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("target", [hard_target, soft_target])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("pos_weight", [None, 3.0, WEIGHTS])
@pytest.mark.parametrize("name", ["bce", "cross_entropy"])
def test_cross_entropy_of_masks_with_smoothed_labels_and_pos_weight(name, pos_weight, smoothing, target):
    """Equal to torch's, given the smoothed target: pos_weight weighs the share inside of every pixel."""
    x, t = logits("multilabel"), target("multilabel")
    weights = None if pos_weight is None else columns(pos_weight)
    smoothed = t.double() * (1 - smoothing) + smoothing / 2
    expected = value_and_gradient(lambda x: torch_bce(x, smoothed, pos_weight=weights), x)
    loss = build(name, "multilabel", pos_weight=pos_weight, label_smoothing=smoothing)
    torch.testing.assert_close(value_and_gradient(loss, x, t), expected, rtol=1e-11, atol=1e-14)


def test_soft_masks_in_focal_are_those_of_torchvision():
    """p_t = p t + (1 - p) (1 - t), alpha_t = alpha t + (1 - alpha) (1 - t), and the cross-entropy of t."""
    x, t = logits("multilabel"), soft_target("multilabel")
    p = x.sigmoid()
    p_t, alpha_t = p * t + (1 - p) * (1 - t), columns(ALPHA) * t + (1 - columns(ALPHA)) * (1 - t)
    expected = (alpha_t * torch_bce(x, t, reduction="none") * (1 - p_t) ** 2).mean()
    torch.testing.assert_close(build("focal", "multilabel", alpha=ALPHA)(x, t), expected, rtol=1e-11, atol=0)


def test_a_list_of_equal_alpha_is_the_number():
    x, t = logits("multilabel"), hard_target("multilabel")
    found, expected = (build("focal", "multilabel", alpha=alpha)(x, t) for alpha in ([0.3, 0.3, 0.3], 0.3))
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_alpha_of_channels_that_changes_is_followed():
    x, t = logits("multilabel"), hard_target("multilabel")
    loss = build("focal", "multilabel", alpha=ALPHA, pos_weight=2.0)
    loss(x, t)
    loss.alpha_per_class[2] = 0.1
    torch.testing.assert_close(loss(x, t), build("focal", "multilabel", alpha=[0.25, 0.5, 0.1], pos_weight=2.0)(x, t))
    loss.alpha_per_class = torch.nn.Parameter(loss.alpha_per_class)
    loss(x, t).backward()
    assert (loss.alpha_per_class.grad != 0).all()


@pytest.mark.parametrize(
    "name, task, params, message",
    [
        ("focal", "multilabel", {"alpha": [0.5, 2.0, 1.0]}, r"alpha contains 2.0, but the task is multilabel.* 0 to 1"),
        ("focal", "multiclass", {"pos_weight": 2.0}, "softmax does not have; give alpha as a list of factors"),
        ("cross_entropy", "multiclass", {"pos_weight": 2.0}, "softmax does not have; weigh classes by class_weight="),
    ],
)
def test_factors_without_a_meaning_are_refused(name, task, params, message):
    """When the loss is built, if its task decides it; otherwise by the task of the first call."""
    with pytest.raises(lossreg.InvalidConfigError, match=message):
        build(name, task, **params)
    loss = build(name, **params)
    loss.task = task
    with pytest.raises(lossreg.InputError, match=message):
        loss(logits(task), hard_target(task))


@pytest.mark.parametrize("name, key", [("focal", "alpha"), ("focal", "pos_weight"), ("cross_entropy", "pos_weight")])
def test_factors_of_channels_have_their_number(name, key):
    with pytest.raises(lossreg.ShapeError, match=f"{key} has 2 values, input has 3 classes; give one per class"):
        build(name, "multilabel", **{key: [0.5, 0.5]})(logits("multilabel"), hard_target("multilabel"))
