"""Every loss equals its formula, written a second time in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossreg

from .cases import (
    EVERY_CASE,
    SHAPES,
    build,
    every_case,
    fits,
    hard_target,
    logits,
    marked,
    own,
    soft_target,
    some_valid,
    target_of,
    without_class,
)
from .oracles import oracle

pytestmark = pytest.mark.usefixtures("on_reference")

WEIGHTS = [0.5, 2.0, 0.25]
OPTIONS = {
    "plain": {},
    "batch": {"batch": True},
    "class_weight": {"class_weight": WEIGHTS},
    "class_weight-batch": {"class_weight": WEIGHTS, "batch": True},
    "absent-ignore": {"absent": "ignore"},
    "absent-zero": {"absent": "zero"},
    "absent-false_positives": {"absent": "false_positives"},
    "absent-ignore-class_weight": {"absent": "ignore", "class_weight": WEIGHTS},
    "absent-false_positives-batch": {"absent": "false_positives", "batch": True},
}
# Values below the defaults, for branches of the formulas: the power of 0, no smoothing, a choice of pixels.
OTHER = {
    "cross_entropy": [{"label_smoothing": 0.9}],
    "poly1": [{"epsilon": -1.0}, {"epsilon": 0.0}],
    "focal": [{"gamma": 0.5}, {"gamma": 0.0}],
    "asymmetric_focal": [{"gamma": 0.5}, {"gamma": 0.0}],
    "dice": [{"smooth": 0.0}],
    "squared_dice": [{"smooth": 0.0}],
    "log_cosh_dice": [{"smooth": 0.0}],
    "generalized_dice": [{"weighting": "square", "smooth": 0.0}, {"weighting": "uniform"}],
    "jaccard": [{"smooth": 0.0}],
    "tversky": [{"smooth": 0.0}],
    "focal_tversky": [{"gamma": 0.5}],
    "asymmetric_focal_tversky": [{"gamma": 0.0}, {"smooth": 0.0}],
    "mcc": [{"smooth": 0.0}],
    "bce_dice_focal": [{"gamma": 0.5}, {"gamma": 0.0}, {"focal_weight": 0.0}],
    "unified_focal": [{"weight": 0.0, "gamma": 0.0}, {"weight": 1.0}],
    "topk": [{"k": 0.01}, {"k": 1.0}],
    "ohem_cross_entropy": [
        {"threshold": 0.8, "min_share": 0.0},  # an ignored pixel, whose p is 1/2, would be kept
        {"threshold": 0.01, "min_share": 0.4},  # the least share decides
        {"threshold": 0.2, "min_share": 0.0},
    ],
    "wasserstein_dice": [{"smooth": 0.0, "distances": [[0, 1, 1], [1, 0, 0.25], [1, 0.25, 0]]}, {"weighting": "GDL"}],
    "hausdorff_dt": [{"alpha": 0.5}],
    "hausdorff_er": [{"alpha": 0.5, "erosions": 3}, {"erosions": 1}],
    "cldice": [{"iterations": 1, "smooth": 0.25}],
}


def combinations(*labels):
    return [
        pytest.param(name, task, label, id=f"{name}-{task}-{label}")
        for name, task in EVERY_CASE
        for label in labels
        if fits(name, task, OPTIONS[label])
    ]


def close(name):
    """Compare with the tolerance of float32, because distances are always float32."""
    return {"rtol": 1e-5 if name in ("boundary", "hausdorff_dt") else 1e-10, "atol": 1e-12}


def assert_values(loss, name, x, t, expected):
    """Compare the total and, if there are any, the values per example."""
    output = loss.evaluate(x, t)
    np.testing.assert_allclose(output.total.item(), expected.mean(), **close(name))
    if getattr(loss, "batch", False):
        assert output.per_example is None
    else:
        np.testing.assert_allclose(output.per_example.numpy(), expected, **close(name))


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("name, task, label", combinations(*(label for label in OPTIONS if label != "plain")))
def test_a_loss_equals_its_formula_under_every_option(name, task, label, kind):
    """Tasks x options x hard and soft targets, with own parameters. Without options: the conformance kit."""
    x, t = logits(task), without_class(target_of(task, kind), task)
    given = own(name, task) | OPTIONS[label]
    assert_values(build(name, task, **given), name, x, t, oracle(name)(x, t, task=task, **given))


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize(
    "name, task, label", combinations("plain", "batch", "class_weight", "absent-ignore", "absent-false_positives")
)
def test_ignored_pixels_are_left_out_of_sums_and_counts(name, task, label, kind):
    """The oracle does not get them, and their logits are NaN. One example is fully ignored."""
    x, t, valid = logits(task), without_class(target_of(task, kind), task), some_valid()
    given = own(name, task) | OPTIONS[label]
    expected = oracle(name)(x, t, task=task, valid=valid, **given)
    loss = build(name, task, ignore_index=7, **given)
    assert_values(loss, name, x.masked_fill(~valid.unsqueeze(1), torch.nan), marked(t, valid), expected)


@every_case
def test_defaults_are_those_of_the_documentation(name, task):
    """Built by name alone, a loss has the defaults of the oracle's signatures."""
    x, t = logits(task), hard_target(task)
    assert_values(build(name, task), name, x, t, oracle(name)(x, t, task=task))


@pytest.mark.parametrize("kind", ["hard", "soft"])
@every_case
def test_other_branches_of_the_formula(name, task, kind):
    """With ignored pixels, whose values must not be mistaken for valid ones."""
    x, t, valid = logits(task), target_of(task, kind), some_valid()
    for given in OTHER.get(name, []):
        expected = oracle(name)(x, t, task=task, valid=valid, **given)
        assert_values(build(name, task, ignore_index=7, **given), name, x, marked(t, valid), expected)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int32, torch.float32, torch.float16])
@pytest.mark.parametrize("name, task", [case for case in EVERY_CASE if case[1] != "multiclass"])
def test_a_mask_means_the_same_in_every_type(name, task, dtype):
    """uint8 2t - 1 would be 255 and bool 1 - t would raise: neither is computed."""
    x, t = logits(task), hard_target(task)
    assert build(name, task)(x, t.to(dtype)).item() == pytest.approx(build(name, task)(x, t).item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize("name", [name for name, task in EVERY_CASE if task == "multiclass"])
def test_class_indices_of_any_integer_type_equal_one_hot_classes(name, dtype):
    x, t = logits("multiclass"), hard_target("multiclass")
    one_hot = torch.nn.functional.one_hot(t, 3).movedim(-1, 1)
    loss = build(name, "multiclass")
    assert loss(x, t.to(dtype)).item() == pytest.approx(loss(x, one_hot.bool()).item(), rel=1e-12)
    assert loss(x, t.to(dtype)).item() == pytest.approx(loss(x, one_hot.double()).item(), rel=1e-12)


@pytest.mark.parametrize(
    "name, task, size",
    [
        pytest.param(name, task, size, id=f"{name}-{task}-{len(size)}d")
        for name, task in EVERY_CASE
        for size in [(), (9,), (2, 3, 4)]
        if size or name not in SHAPES  # a shape needs an axis
    ],
)
def test_any_number_of_spatial_dimensions(name, task, size):
    """(N, C), sequences and volumes."""
    x, t = logits(task, size=size), hard_target(task, size=size)
    assert_values(build(name, task), name, x, t, oracle(name)(x, t, task=task))


@pytest.mark.parametrize("name", [name for name, task in EVERY_CASE if task == "binary"])
def test_one_channel_takes_a_target_without_the_channel(name):
    """(N, *) and (N, 1, *) are the same masks, and both are inferred as binary."""
    x, t = logits("binary"), hard_target("binary")
    loss = lossreg.build(name)
    assert loss(x, t[:, 0]).item() == loss(x, t).item() == build(name, "binary")(x, t).item()


@pytest.mark.parametrize("name", [name for name, task in EVERY_CASE if task == "multiclass"])
def test_integer_targets_without_channel_are_inferred_as_multiclass(name):
    x, t = logits("multiclass"), hard_target("multiclass")
    assert lossreg.build(name)(x, t).item() == build(name, "multiclass")(x, t).item()


def test_soft_overlap_is_least_where_prediction_and_target_agree():
    """The product p t would prefer p = 1 to p = t = 0.7."""
    t = torch.full((1, 1, 4, 4), 0.7, dtype=torch.float64)
    loss = lossreg.build({"name": "dice", "params": {"smooth": 0.0}})
    exact = loss(torch.logit(t), t)
    assert exact.item() == pytest.approx(0.0, abs=1e-12)
    assert loss(torch.full_like(t, 20.0), t).item() == pytest.approx(1 - 1.4 / 1.7, rel=1e-6)


def test_torch_agrees_on_what_torch_has():
    """Binary and softmax cross-entropy; batch=True is torch's global weighted mean over pixels."""
    x, t = logits("multilabel"), soft_target("multilabel")
    positive = torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64).view(3, 1, 1)
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=positive)(x, t)
    torch.testing.assert_close(build("bce", "multilabel", pos_weight=[3.0, 1.0, 0.5])(x, t), expected)
    x, t = logits("multiclass"), hard_target("multiclass")
    t[0, 0], t[1] = 255, 255
    weight = torch.tensor(WEIGHTS, dtype=torch.float64)
    expected = torch.nn.CrossEntropyLoss(weight, ignore_index=255)(x, t)
    ours = build("cross_entropy", batch=True, class_weight=WEIGHTS, ignore_index=255)(x, t)
    torch.testing.assert_close(ours, expected)
