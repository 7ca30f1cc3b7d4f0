"""Parity with MONAI at the settings that mean the same. Its smooth_nr = smooth_dr = 1e-5 is our smooth=1e-5."""

from __future__ import annotations

import warnings

import pytest
import torch

from .cases import build, hard_target, logits, soft_target

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecation warnings from MONAI's own imports
    monai = pytest.importorskip("monai.losses", reason="MONAI is not installed: parity with it is not checked")

close = {"rtol": 1e-5, "atol": 1e-8}


def channels(task):
    """Return logits, target, and the target with the channel that MONAI needs."""
    x, t = logits(task), hard_target(task)
    return x, t, t.unsqueeze(1) if task == "multiclass" else t


def activation(task):
    return {"softmax": True, "to_onehot_y": True} if task == "multiclass" else {"sigmoid": True}


def assert_same(ours, theirs, task, factor=1.0):
    """Compare value and gradient; `factor` corrects for MONAI's larger divisor."""
    x, t, with_channel = channels(task)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    value, expected = ours(one, t), theirs(other, with_channel) * factor
    torch.testing.assert_close(value, expected.double(), **close)  # its focal loss is float32
    value.backward()
    expected.backward()
    torch.testing.assert_close(one.grad, other.grad, **close)


@pytest.mark.parametrize("batch", [False, True], ids=["per example", "batch"])
@pytest.mark.parametrize("smooth", [1e-5, 1.0])
@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_dice(task, smooth, batch):
    theirs = monai.DiceLoss(**activation(task), smooth_nr=smooth, smooth_dr=smooth, batch=batch)
    assert_same(build("dice", task, smooth=smooth, batch=batch), theirs, task)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_dice_without_background_is_a_class_weight_of_zero(task):
    theirs = monai.DiceLoss(**activation(task), include_background=False)
    assert_same(build("dice", task, smooth=1e-5, class_weight=[0.0, 1.0, 1.0]), theirs, task)


def test_dice_of_soft_labels_is_the_l1_overlap():
    x, t = logits("multilabel"), soft_target("multilabel")
    theirs = monai.DiceLoss(sigmoid=True, soft_label=True)
    torch.testing.assert_close(build("dice", "multilabel", smooth=1e-5)(x, t), theirs(x, t), **close)


@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_jaccard(task):
    """MONAI doubles numerator and denominator: its smooth 2 is our smooth 1."""
    theirs = monai.DiceLoss(**activation(task), jaccard=True, smooth_nr=2.0, smooth_dr=2.0)
    assert_same(build("jaccard", task, smooth=1.0), theirs, task)


@pytest.mark.parametrize("alpha, beta", [(0.5, 0.5), (0.3, 0.7), (0.9, 0.1)])
@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_tversky(task, alpha, beta):
    """alpha is the weight of false positives there too."""
    theirs = monai.TverskyLoss(**activation(task), alpha=alpha, beta=beta)
    assert_same(build("tversky", task, alpha=alpha, beta=beta, smooth=1e-5), theirs, task)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_focal(task, alpha, gamma):
    assert_same(build("focal", task, alpha=alpha, gamma=gamma), monai.FocalLoss(alpha=alpha, gamma=gamma), task)


@pytest.mark.parametrize("alpha", [None, [0.5, 1.0, 2.0]])
def test_softmax_focal_is_theirs_times_the_number_of_classes(alpha):
    """MONAI takes its mean over pixels and classes."""
    theirs = monai.FocalLoss(use_softmax=True, to_onehot_y=True, alpha=alpha)
    assert_same(build("focal", "multiclass", alpha=alpha), theirs, "multiclass", factor=3.0)


def test_dice_of_sam_2_is_monai_dice_with_smooth_one_and_ours():
    """Divided by as many objects as there are masks."""
    x, t = logits("binary"), hard_target("binary")
    p, mask = x.sigmoid().flatten(1), t.flatten(1)
    sam_2 = (1 - (2 * (p * mask).sum(-1) + 1) / (p.sum(-1) + mask.sum(-1) + 1)).sum() / 4
    theirs = monai.DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0)(x, t)
    torch.testing.assert_close(theirs, sam_2, **close)
    torch.testing.assert_close(build("dice")(x, t), sam_2, **close)


@pytest.mark.parametrize("name, theirs", [("dice", "DiceLoss"), ("tversky", "TverskyLoss")])
def test_masked_losses_of_probabilities(name, theirs):
    """A mask is a weight of 0 and 1. MONAI multiplies probabilities by it, so its own sigmoid must come before."""
    x, t = logits("multilabel"), hard_target("multilabel")
    mask = torch.rand(len(x), 1, *x.shape[2:], generator=torch.Generator().manual_seed(3)) > 0.4
    masked = monai.MaskedLoss(getattr(monai, theirs))(x.sigmoid(), t.double(), mask.double())
    ours = build(name, "multilabel", smooth=1e-5)(x, t, weight=mask)
    torch.testing.assert_close(ours, masked, **close)
