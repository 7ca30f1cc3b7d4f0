"""Messages about the shapes of a SAM step: following their advice gives the loss that was meant."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import lossreg
from lossreg_sam.sam2 import SAM2

from .oracles import build, step
from .oracles_sam2 import MASKS, video

each_name = pytest.mark.parametrize("name", ["sam", "iou_prediction"])


def refusal(loss, *inputs):
    """Return the message of the error that a loss raises for these inputs."""
    with pytest.raises((lossreg.InputError, lossreg.ShapeError)) as caught:
        loss(*inputs)
    return str(caught.value)


@each_name
def test_masks_of_several_prompts_are_told_to_be_flattened(name):
    """Hugging Face's pred_masks are (B, P, M, H, W), iou_scores (B, P, M), targets (B, P, H, W)."""
    x, t, iou = step(batch=4)
    prompts = [given.unflatten(0, (2, 2)) for given in (x, t, iou)]
    message = refusal(build(name), *prompts)
    assert message.endswith("; for prompts in axis 1 use .flatten(0, 1) on input, target, predicted_iou")
    assert torch.equal(build(name)(*(given.flatten(0, 1) for given in prompts)), build(name)(x, t, iou))


@each_name
def test_a_target_without_the_axis_of_one_prompt_stays_as_it_is(name):
    x, t, iou = step()
    message = refusal(build(name), x.unsqueeze(1), t, iou.unsqueeze(1))
    assert message.endswith("use .flatten(0, 1) on input, predicted_iou")
    found = build(name)(x.unsqueeze(1).flatten(0, 1), t, iou.unsqueeze(1).flatten(0, 1))
    assert torch.equal(found, build(name)(x, t, iou))


@pytest.mark.parametrize("channel", [False, True])
@each_name
def test_logits_of_a_quarter_of_the_size_are_told_to_be_upsampled(name, channel):
    """SAM's decoder returns 256 x 256 for images of 1024 x 1024."""
    (x, _, iou), (_, t, _) = step(), step(size=(16, 20))
    t = t.unsqueeze(1) if channel else t
    message = refusal(build(name), x, t, iou)
    assert message.endswith("; upsample the logits: F.interpolate(input, (16, 20), mode='bilinear')")
    assert build(name)(F.interpolate(x, (16, 20), mode="bilinear"), t, iou).isfinite()


@each_name
def test_one_target_per_mask_is_another_batch(name):
    """Each object has one predicted mask then."""
    x, _, iou = step()
    t = (x > 0.5).long()
    message = refusal(build(name), x, t, iou)
    assert "for M objects of one predicted mask each use .flatten(0, 1) on target, and" in message
    assert message.endswith(".flatten(0, 1).unsqueeze(1) on input and predicted_iou")
    found = build(name)(x.flatten(0, 1).unsqueeze(1), t.flatten(0, 1), iou.flatten(0, 1).unsqueeze(1))
    expected = sum(build(name)(x[:, m : m + 1], t[:, m], iou[:, m : m + 1]) for m in range(3)) / 3
    torch.testing.assert_close(found, expected)


@each_name
def test_axes_of_one_mask_and_of_its_iou_are_named(name):
    x, t, iou = step(masks=1)
    expected = build(name)(x, t, iou)
    assert refusal(build(name), x[:, 0], t, iou).endswith("; for one mask of each target use input.unsqueeze(1)")
    assert refusal(build(name), x, t, iou[:, 0]).endswith("; use predicted_iou.unsqueeze(1)")
    assert refusal(build(name), x, t, iou[..., None]).endswith("; use predicted_iou.squeeze(2)")
    assert torch.equal(build(name)(x[:, 0].unsqueeze(1), t, iou[:, 0].unsqueeze(1)), expected)
    assert torch.equal(build(name)(x, t, iou[..., None].squeeze(2)), expected)


@each_name
def test_a_target_that_requires_a_gradient_is_refused(name):
    """Also after a call that has prepared the loss. The predicted IoU may require one."""
    x, t, iou = step()
    loss, soft = build(name), t.double().mul(0.9)
    expected = loss(x, soft, iou)
    assert refusal(loss, x, soft.clone().requires_grad_(), iou).endswith("; use target.detach()")
    assert torch.equal(loss(x, soft.clone().requires_grad_().detach(), iou.requires_grad_()), expected)


def test_targets_of_a_video_are_checked_alike():
    outs, targets = video()
    expected = SAM2()(outs, targets)
    assert refusal(SAM2(), outs, targets.double().requires_grad_()).endswith("; use target.detach()")
    assert refusal(SAM2(), outs, targets.unsqueeze(2)).endswith("; use target_masks.squeeze(2)")
    assert torch.equal(SAM2()(outs, targets.unsqueeze(2).squeeze(2)), expected)
    small = [{**frame, MASKS: [F.interpolate(x, (2, 2)) for x in frame[MASKS]]} for frame in outs]
    assert "as by F.interpolate(masks, (4, 5), mode='bilinear')" in refusal(SAM2(), small, targets)
