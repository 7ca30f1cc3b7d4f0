"""Gradients to logits and predicted IoU, batches, ignored pixels and absent masks."""

from __future__ import annotations

import pytest
import torch

from .oracles import build, ragged, step, value_and_gradients

each_name = pytest.mark.parametrize("name", ["sam", "iou_prediction"])


@pytest.mark.parametrize("absent", ["score", "false_positives"])
def test_gradients_of_sam_equal_finite_differences(absent):
    """To both inputs, with an ignored pixel and an empty mask; soft targets too."""
    x, t, iou = step(batch=2, masks=2, size=(2, 2))
    t[0], t[1, 0, 0] = 0, 255
    loss = build("sam", ignore_index=255, absent=absent, gamma=1.5)
    for target in (t, torch.where(t == 1, 0.7, t.double())):
        x, iou = x.detach().requires_grad_(), iou.detach().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, iou, target=target: loss(x, target, iou), (x, iou))


def test_the_iou_prediction_teaches_the_prediction_alone():
    """The actual IoU is a count: twice the error reaches the predicted IoU, nothing reaches the logits."""
    x, t, iou = step(batch=1, masks=1)
    value, to_logits, to_iou = value_and_gradients(build("iou_prediction"), x, t, iou)
    assert to_logits.abs().max() == 0
    assert to_iou.abs().item() == pytest.approx(2 * value.sqrt().item(), rel=1e-12)
    _, with_iou, to_iou = value_and_gradients(build("sam"), x, t, iou)
    _, without_iou, none = value_and_gradients(build("sam", iou_weight=0.0), x, t, iou)
    assert torch.equal(with_iou, without_iou)
    assert to_iou.abs().min() > 0
    assert none.abs().max() == 0


@each_name
def test_the_result_is_connected(name):
    """Every logit of every mask gets a gradient from SAM, every predicted IoU from both."""
    x, t, iou = step()
    loss = build(name)(x.requires_grad_(), t, iou.requires_grad_())
    assert loss.requires_grad
    assert loss.shape == ()
    loss.backward()
    assert (iou.grad != 0).all()
    if name == "sam":
        assert (x.grad != 0).all()


@each_name
def test_an_ignored_pixel_gets_a_gradient_of_exactly_zero(name):
    """Even where its logit is NaN; value and other gradients do not change."""
    x, t, iou = ragged()
    ignored = (t == 255).unsqueeze(1).expand_as(x)
    loss = build(name, ignore_index=255)
    clean = value_and_gradients(loss, x, t, iou)
    for wrong in (float("nan"), float("inf")):
        dirty = value_and_gradients(loss, x.masked_fill(ignored, wrong), t, iou)
        assert all(torch.equal(one, other) for one, other in zip(clean, dirty, strict=True))
        assert (dirty[1][ignored] == 0).all()
    if name == "sam":
        assert (clean[1][~ignored] != 0).all()


@each_name
def test_a_batch_that_is_ignored_whole_costs_zero_with_a_zero_gradient(name):
    x, t, iou = step()
    loss = build(name, ignore_index=255)(x.requires_grad_(), torch.full_like(t, 255), iou.requires_grad_())
    assert loss.item() == 0
    loss.backward()
    assert iou.grad.abs().max() == 0
    assert x.grad is None or x.grad.abs().max() == 0


@each_name
def test_values_per_example_average_to_the_total_and_follow_the_batch(name):
    """Permuted with it, halved with it, and the same alone; an example that is all ignored stays in the mean as 0."""
    x, t, iou = ragged()
    loss, none = (build(name, ignore_index=255, reduction=r) for r in ("mean", "none"))
    values = none(x, t, iou)
    assert values[2] == 0
    assert values.mean().item() == pytest.approx(loss(x, t, iou).item(), rel=1e-12)
    assert build(name, ignore_index=255, reduction="sum")(x, t, iou).item() == pytest.approx(values.sum().item())
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(none(x[order], t[order], iou[order]), values[order], rtol=1e-12, atol=0)
    halves = [loss(x[s], t[s], iou[s]).item() for s in (slice(0, 2), slice(2, 4))]
    assert sum(halves) / 2 == pytest.approx(loss(x, t, iou).item(), rel=1e-12)
    for i in range(4):
        assert loss(x[i : i + 1], t[i : i + 1], iou[i : i + 1]).item() == pytest.approx(values[i].item(), rel=1e-12)


ABSENT = {
    # 64x64 pixels of p = 1/2, nothing predicted, IoU given as .3; focal .75 .25 log 2, Dice 2048/2049.
    "score": (20 * 0.1875 * 0.6931471805599453 + 2048 / 2049 + 0.09, 0.6),
    "ignore": (0.09, 0.6),
    "zero": (0.09, 0.6),
    "false_positives": (21 * 0.5 + 0.09, 0.6),
}


@pytest.mark.parametrize("absent", ABSENT)
def test_empty_masks_have_the_value_and_the_gradient_of_their_policy(absent):
    """Focal and Dice have the policy's value; the IoU of an empty mask stays a label."""
    x, t = torch.zeros(1, 1, 64, 64, dtype=torch.float64), torch.zeros(1, 64, 64, dtype=torch.bool)
    iou = torch.full((1, 1), 0.3, dtype=torch.float64)
    value, to_logits, to_iou = value_and_gradients(build("sam", absent=absent), x, t, iou)
    assert value.item() == pytest.approx(ABSENT[absent][0], rel=1e-12)
    assert to_iou.item() == pytest.approx(ABSENT[absent][1], rel=1e-12)
    if absent in ("ignore", "zero"):
        assert to_logits.abs().max() == 0
    if absent == "false_positives":
        assert to_logits[0, 0, 3, 4].item() == pytest.approx(21 * 0.25 / 4096, rel=1e-12)
