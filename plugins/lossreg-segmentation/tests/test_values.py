"""Every loss equals its formula, written a second time in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import lossreg

from .cases import (
    CASES,
    CHANNELS,
    arrays,
    build,
    each_case,
    hard_target,
    logits,
    own,
    soft_target,
    target_of,
    without_class,
)
from .oracles import per_example

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
}


def fits(name, task, options):
    """Whether the options have a meaning for the loss; where they have none, test_bad_input reads the error."""
    weighs = "class_weight" in options and CHANNELS[task] == 1
    return not weighs and not ("absent" in options and task == "multiclass" and name in ("cross_entropy", "focal"))


COMBINATIONS = [
    pytest.param(name, task, label, id=f"{name}-{task}-{label}")
    for name, task in CASES
    for label, options in OPTIONS.items()
    if fits(name, task, options)
]


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("name, task, label", COMBINATIONS)
def test_a_loss_equals_its_formula_under_every_option(name, task, label, kind):
    """Tasks x options x hard and soft targets, with own parameters away from their defaults."""
    x, t = logits(task), without_class(target_of(task, kind), task)
    loss = build(name, task, **own(name, task), **OPTIONS[label])
    everywhere = np.ones((4, 15), dtype=bool)
    expected = per_example(name, *arrays(x, t), everywhere, task, **own(name, task), **OPTIONS[label])
    output = loss.evaluate(x, t)
    assert output.total.item() == pytest.approx(expected.mean(), rel=1e-10)
    if "batch" in OPTIONS[label]:
        assert output.per_example is None
    else:
        np.testing.assert_allclose(output.per_example.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("label", ["plain", "batch", "class_weight", "absent-ignore"])
@pytest.mark.parametrize("kind", ["hard", "soft"])
@each_case
def test_ignored_pixels_are_left_out_of_sums_and_counts(name, task, kind, label):
    """The oracle never sees them: its arrays are shorter. One example is ignored whole."""
    if not fits(name, task, OPTIONS[label]):
        label = "plain"
    x, t = logits(task), target_of(task, kind)
    valid = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(5)) < 0.6
    valid[2] = False
    loss = build(name, task, ignore_index=7, **own(name, task), **OPTIONS[label])
    marked = t.masked_fill(~(valid if t.ndim == 3 else valid.unsqueeze(1)), 7)
    expected = per_example(name, *arrays(x, t), valid.flatten(1).numpy(), task, **own(name, task), **OPTIONS[label])
    assert loss(x, marked).item() == pytest.approx(expected.mean(), rel=1e-10)


@each_case
def test_defaults_are_those_of_the_documentation(name, task):
    """Built by its bare name, a loss has the parameters that the oracle's signatures state."""
    x, t = logits(task), hard_target(task)
    expected = per_example(name, *arrays(x, t), np.ones((4, 15), dtype=bool), task)
    assert build(name, task)(x, t).item() == pytest.approx(expected.mean(), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int32, torch.float32, torch.float16])
@pytest.mark.parametrize("name, task", [case for case in CASES if case[1] != "multiclass"])
def test_a_mask_means_the_same_in_every_type(name, task, dtype):
    """uint8 2t - 1 would be 255 and bool 1 - t would raise: neither is computed."""
    x, t = logits(task), hard_target(task)
    assert build(name, task)(x, t.to(dtype)).item() == pytest.approx(build(name, task)(x, t).item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize("name", [name for name, task in CASES if task == "multiclass"])
def test_class_indices_of_any_integer_type_equal_one_hot_classes(name, dtype):
    x, t = logits("multiclass"), hard_target("multiclass")
    one_hot = torch.nn.functional.one_hot(t, 3).movedim(-1, 1)
    loss = build(name, "multiclass")
    assert loss(x, t.to(dtype)).item() == pytest.approx(loss(x, one_hot.bool()).item(), rel=1e-12)
    assert loss(x, t.to(dtype)).item() == pytest.approx(loss(x, one_hot.double()).item(), rel=1e-12)


@pytest.mark.parametrize("size", [(), (15,), (3, 5), (2, 3, 4)], ids=lambda size: f"{len(size)}d")
@each_case
def test_any_number_of_spatial_dimensions(name, task, size):
    """(N, C), sequences, images and volumes."""
    x, t = logits(task, size=size), hard_target(task, size=size)
    pixels = math.prod(size)
    channels = x.reshape(4, CHANNELS[task], pixels)
    flat = t.reshape(4, pixels) if task == "multiclass" else t.reshape(4, -1, pixels)
    expected = per_example(name, *arrays(channels, flat), np.ones((4, pixels), dtype=bool), task)
    assert build(name, task)(x, t).item() == pytest.approx(expected.mean(), rel=1e-10)


@pytest.mark.parametrize("name", [name for name, task in CASES if task == "binary"])
def test_one_channel_takes_a_target_without_the_channel(name):
    """(N, *) and (N, 1, *) are the same masks, and both are inferred as binary."""
    x, t = logits("binary"), hard_target("binary")
    loss = lossreg.build(name)
    assert loss(x, t[:, 0]).item() == loss(x, t).item() == build(name, "binary")(x, t).item()


@pytest.mark.parametrize("name", [name for name, task in CASES if task == "multiclass"])
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


@each_case
def test_gamma_below_one_and_zero_agree_with_the_power(name, task):
    """The power is computed in log space; gamma 0 is its own branch."""
    if "gamma" not in own(name, task):
        return
    x = logits(task)
    for kind, gamma in (("hard", 0.5), ("soft", 0.5), ("hard", 0.0), ("soft", 0.0)):
        if name == "focal_tversky" and gamma == 0.0:
            continue
        t = target_of(task, kind)
        expected = per_example(name, *arrays(x, t), np.ones((4, 15), dtype=bool), task, gamma=gamma)
        assert build(name, task, gamma=gamma)(x, t).item() == pytest.approx(expected.mean(), rel=1e-10)


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
