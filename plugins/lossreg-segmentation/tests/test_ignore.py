"""Ignored pixels: no value, no gradient, no count."""

from __future__ import annotations

import pytest
import torch

from .cases import (
    EVERY_CASE,
    NAMES,
    SHARP,
    build,
    every_case,
    fits,
    hard_target,
    logits,
    own,
    soft_target,
    target_of,
    value_and_gradient,
)

pytestmark = pytest.mark.usefixtures("on_reference")


@pytest.mark.parametrize("kind, index", [("hard", -100), ("soft", 255)])
@every_case
def test_an_ignored_pixel_gets_a_gradient_of_exactly_zero(name, task, kind, index):
    """Even where its logit is NaN: 0 * NaN would be NaN, so it is replaced before the activation."""
    t = target_of(task, kind)
    ignored = torch.zeros(4, 3, 5, dtype=torch.bool)
    ignored[0, 1, 2:], ignored[3] = True, True
    everywhere = ignored.unsqueeze(1).expand_as(logits(task))
    t = t.masked_fill(ignored if t.ndim == 3 else ignored.unsqueeze(1), index)
    x = logits(task)
    loss = build(name, task, ignore_index=index, **own(name, task))
    clean, expected = value_and_gradient(loss, x, t)
    assert (expected[everywhere] == 0).all()
    assert name not in NAMES or (expected[~everywhere] != 0).all()
    for wrong in (float("nan"), float("inf"), 3e4):
        value, gradient = value_and_gradient(loss, x.masked_fill(everywhere, wrong), t)
        assert torch.equal(value, clean)
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize(
    "name, task, options",
    [
        pytest.param(name, task, options, id="-".join([name, task, *map(str, options.values())]))
        for name, task in EVERY_CASE
        for batch in ({}, {"batch": True})
        for absent in ({}, {"absent": "ignore"}, {"absent": "zero"}, {"absent": "false_positives"})
        if fits(name, task, options := batch | absent)
    ],
)
def test_a_batch_that_is_ignored_whole_costs_zero_with_a_zero_gradient(name, task, options):
    """The loss is connected to the graph, so that backward runs as in any other step; smp's focal is NaN here."""
    t = torch.full_like(hard_target(task), 255)
    for params in ({}, own(name, task), SHARP.get(name, {})):
        x = torch.full_like(logits(task), float("nan")).requires_grad_()
        loss = build(name, task, ignore_index=255, **options, **params)(x, t)
        assert loss.item() == 0
        loss.backward()
        assert x.grad.abs().max() == 0


def test_a_perfect_prediction_costs_nothing_whatever_is_ignored():
    """A mask applied before the activation turns logits into p = 1/2: a cost of .2 for a perfect prediction."""
    t = hard_target("binary")
    x = (t * 2.0 - 1) * 50
    t[:, :, 1] = 255
    for name in ("dice", "jaccard", "tversky", "bce", "focal", "bce_dice_focal"):
        assert build(name, ignore_index=255)(x, t).item() == pytest.approx(0, abs=1e-9)


def test_masks_may_be_ignored_one_by_one_in_multilabel():
    """A pixel unknown to one class still teaches the others."""
    x, t = logits("multilabel"), hard_target("multilabel")
    t[:, 1] = 9
    for name in ("dice", "bce"):
        expected = build(name, "multilabel")(x[:, [0, 2]], t[:, [0, 2]])
        found, gradient = value_and_gradient(build(name, "multilabel", ignore_index=9), x, t)
        assert found.item() == pytest.approx(expected.item(), rel=1e-12)
        assert (gradient[:, 1] == 0).all()
        assert (gradient[:, 0] != 0).all()


@pytest.mark.parametrize("name", ["dice", "cross_entropy", "focal"])
def test_soft_classes_with_one_ignored_channel_ignore_the_pixel(name):
    """The classes of a pixel share one softmax, so the other logits of that pixel must not count either."""
    x, t = logits("multiclass"), soft_target("multiclass")
    t[0, 1, 0, 0] = 9
    partly, gradient = value_and_gradient(build(name, "multiclass", ignore_index=9), x, t)
    t[0, :, 0, 0] = 9
    assert torch.equal(partly, build(name, "multiclass", ignore_index=9)(x, t))
    assert gradient[0, :, 0, 0].tolist() == [0, 0, 0]
