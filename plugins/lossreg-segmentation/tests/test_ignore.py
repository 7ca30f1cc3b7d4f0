"""Ignored pixels: no value, no gradient, no count."""

from __future__ import annotations

import pytest
import torch

from .cases import build, each_case, hard_target, logits, own, soft_target, target_of, value_and_gradient

pytestmark = pytest.mark.usefixtures("on_reference")


@pytest.mark.parametrize("index", [-100, 255])
@each_case
def test_an_ignored_pixel_gets_a_gradient_of_exactly_zero(name, task, index):
    """Even where its logit is NaN: 0 * NaN would be NaN, so it is replaced before the activation."""
    t = hard_target(task)
    ignored = torch.zeros(4, 3, 5, dtype=torch.bool)
    ignored[0, 1, 2:], ignored[3] = True, True
    everywhere = ignored.unsqueeze(1).expand_as(logits(task))
    t = t.masked_fill(ignored if t.ndim == 3 else ignored.unsqueeze(1), index)
    x = logits(task)
    loss = build(name, task, ignore_index=index, **own(name, task))
    clean, expected = value_and_gradient(loss, x, t)
    assert (expected[everywhere] == 0).all()
    assert (expected[~everywhere] != 0).all()
    for wrong in (float("nan"), float("inf"), 3e4):
        value, gradient = value_and_gradient(loss, x.masked_fill(everywhere, wrong), t)
        assert torch.equal(value, clean)
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize("kind", ["hard", "soft"])
@each_case
def test_a_masked_image_equals_its_valid_part(name, task, kind):
    """The lower half ignored: value of the upper half alone. Half of the pixels ignored must not halve the loss."""
    x, t = logits(task, size=(4, 5)), target_of(task, kind, size=(4, 5))
    upper = build(name, task)(x[..., :2, :], t[..., :2, :])
    t[..., 2:, :] = 9
    masked = build(name, task, ignore_index=9)(x, t)
    assert masked.item() == pytest.approx(upper.item(), rel=1e-12)


@each_case
def test_a_constant_image_costs_the_same_with_half_of_it_ignored(name, task):
    """A mean over pixels of equal values does not know how many there are (smooth 0 for the ratios)."""
    smooth = {"smooth": 0.0} if "smooth" in own(name, task) else {}
    x = torch.full_like(logits(task), 0.3)
    t = torch.ones_like(hard_target(task))
    whole = build(name, task, ignore_index=9, **smooth)(x, t)
    t.view(4, -1, 15)[..., 7:] = 9
    assert build(name, task, ignore_index=9, **smooth)(x, t).item() == pytest.approx(whole.item(), rel=1e-9)


@pytest.mark.parametrize("absent", ["score", "ignore", "zero", "false_positives"])
@pytest.mark.parametrize("batch", [False, True])
@each_case
def test_a_batch_that_is_ignored_whole_costs_zero_with_a_zero_gradient(name, task, batch, absent):
    """Connected to the graph, so that backward runs as on any other step; smp's focal is NaN here."""
    if task == "multiclass" and name in ("cross_entropy", "focal"):
        absent = "score"
    x = torch.full_like(logits(task), float("nan")).requires_grad_()
    t = torch.full_like(hard_target(task), 255)
    loss = build(name, task, ignore_index=255, batch=batch, absent=absent)(x, t)
    assert loss.item() == 0
    assert loss.requires_grad
    loss.backward()
    assert x.grad.abs().max() == 0


@pytest.mark.parametrize("name", ["dice", "focal_tversky"])
def test_smooth_zero_and_all_ignored_is_still_zero(name):
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    loss = build(name, smooth=0.0, ignore_index=255)(x, torch.full((2, 1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert x.grad.abs().max() == 0


@each_case
def test_an_example_that_is_ignored_whole_is_zero_and_stays_in_the_mean(name, task):
    """Two examples, one ignored: half of the other's value, so that splitting a batch changes nothing."""
    x, t = logits(task, batch=2), hard_target(task, batch=2)
    t[1] = 255
    loss = build(name, task, ignore_index=255)
    assert loss(x, t).item() == pytest.approx(loss(x[:1], t[:1]).item() / 2, rel=1e-12)


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
    """Softmax ties the classes of a pixel together; the other logits of that pixel must not count either."""
    x, t = logits("multiclass"), soft_target("multiclass")
    t[0, 1, 0, 0] = 9
    partly, gradient = value_and_gradient(build(name, "multiclass", ignore_index=9), x, t)
    t[0, :, 0, 0] = 9
    assert torch.equal(partly, build(name, "multiclass", ignore_index=9)(x, t))
    assert gradient[0, :, 0, 0].tolist() == [0, 0, 0]
