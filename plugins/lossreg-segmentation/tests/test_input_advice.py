"""Messages about input that would train something else: following their advice gives the loss that was meant."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import lossreg
from lossreg_segmentation.statistics import implementation

from .cases import (
    CLASSES,
    DENSE,
    INDEPENDENT,
    NAMES,
    build,
    each_family,
    hard_target,
    logits,
    soft_target,
    target_of,
    tasks_of,
)

pytestmark = pytest.mark.usefixtures("on_reference")

MASKS = ("bce", "bce_dice_focal", "dice", "lovasz_hinge", "boundary", "topk")
REFUSED = (lossreg.InputError, lossreg.ShapeError, lossreg.DTypeError)


def refusal(loss, *inputs):
    """Return the message of the error that a loss raises for these inputs."""
    with pytest.raises(REFUSED) as caught:
        loss(*inputs)
    return str(caught.value)


@pytest.mark.parametrize("name, task", [(name, tasks_of(name)[-1]) for name in (*NAMES, *DENSE)])
def test_a_target_that_requires_a_gradient_is_refused(name, task):
    """A second model's output, not detached, would silently not learn; also where the input does not learn."""
    x, t, loss = logits(task), soft_target(task), build(name, task)
    expected = loss(x, t)  # which prepares the loss for tensors like these
    for given in (x, x.clone().requires_grad_()):
        message = refusal(loss, given, t.clone().requires_grad_())
        assert message == "target requires a gradient, and only input gets one from this loss; use target.detach()"
        assert torch.equal(loss(given, t.clone().requires_grad_().detach()), expected)
    with torch.no_grad():
        assert torch.equal(loss(x, t.clone().requires_grad_()), expected)


@pytest.mark.parametrize("config", ["dice", {"name": "weighted_sum", "params": {"terms": ["dice", "bce"]}}])
def test_a_loss_that_is_one_function_refuses_it_too(config):
    """After a call that has prepared it."""
    loss, x, t = lossreg.build(config), logits("binary"), soft_target("binary")
    with implementation("tiled"):
        assert loss.plan(x, t) is not None
        for call in (loss, loss.evaluate, loss.per_example):
            call(x, t)
            with pytest.raises(lossreg.InputError, match=r"use target\.detach\(\)$"):
                call(x, t.clone().requires_grad_())


def test_logits_in_the_place_of_the_target_are_told_from_a_teacher():
    """They require a gradient as well, and have other values than a mask, while the input is one."""
    x, t = logits("binary"), hard_target("binary").double()
    assert refusal(build("dice"), t, x.requires_grad_()).endswith("; are input and target swapped?")
    assert refusal(build("dice"), x.detach(), x.sigmoid()).endswith("; use target.detach()")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bool])
@pytest.mark.parametrize("name", MASKS)
def test_masks_without_a_channel_are_told_to_get_one(name, dtype):
    """An object that is missed altogether had a Dice of 0.07 in place of 0.9: the mean over rows of pixels."""
    x, t = logits("binary")[:, 0], hard_target("binary")[:, 0].to(dtype)
    expected = build(name)(x[:, None], t[:, None])
    assert "for masks (N, H, W) use .unsqueeze(1) on both" in refusal(build(name), x, t)
    assert torch.equal(build(name)(x.unsqueeze(1), t.unsqueeze(1)), expected)
    assert "for one mask (H, W) use [None, None] on both" in refusal(build(name), x[0], t[0])
    torch.testing.assert_close(build(name)(x[0][None, None], t[0][None, None]), build(name)(x[:1, None], t[:1, None]))


@pytest.mark.parametrize("name", [*INDEPENDENT, *CLASSES])
def test_channels_without_an_image_need_a_task(name):
    """(N, C) and (N, C, L) may be images without a channel, also for a loss that has only one task."""
    x, t = logits("multilabel").flatten(2), hard_target("multilabel").flatten(2)
    t = F.one_hot(t.argmax(1), 3).movedim(-1, 1) if name in CLASSES else t
    task = tasks_of(name)[-1]
    for given in ((x, t), (x[..., 0], t[..., 0])):
        assert refusal(build(name), *given).endswith(f", for channels set task={task!r}")
    torch.testing.assert_close(build(name, task)(x, t), build(name)(x.unsqueeze(3), t.unsqueeze(3)))


@pytest.mark.parametrize("task", ["auto", "multilabel"])
@pytest.mark.parametrize("name", ["dice", "bce_dice_focal"])
@pytest.mark.parametrize("kind", ["float", "bool", "labels", "without a channel"])
def test_stacked_heads_are_told_to_be_split(name, task, kind):
    """DynUNet stacks (N, heads, 1, H, W). As volumes they had a softmax over the heads."""
    heads = torch.stack([logits("binary", seed=seed) for seed in range(3)], 1)
    t = hard_target("binary")
    t = {"float": t.float(), "bool": t.bool(), "labels": t, "without a channel": t[:, 0]}[kind]
    deep = lossreg.build({"name": "deep_supervision", "params": {"loss": name, "weights": "same"}})
    assert "use input.unbind(1) in deep_supervision" in refusal(build(name, task), heads, t)
    assert "use input.unbind(1)" in refusal(deep, heads, t)
    expected = sum(build(name, "binary")(head, t) for head in heads.unbind(1))
    torch.testing.assert_close(deep(heads.unbind(1), t), expected)


@pytest.mark.parametrize("kind", ["float", "labels with a channel", "labels"])
def test_stacked_heads_of_classes_are_told_to_be_split(kind):
    """(N, heads, C, H, W), here with as many heads as classes."""
    heads = torch.stack([logits("multiclass", seed=seed) for seed in range(3)], 1)
    labels = hard_target("multiclass")
    one_hot = F.one_hot(labels, 3).movedim(-1, 1).double()
    t = {"float": one_hot, "labels with a channel": labels[:, None], "labels": labels}[kind]
    deep = {"name": "deep_supervision", "params": {"loss": {"name": "dice", "params": {"task": "multiclass"}}}}
    for loss in (build("dice", "multiclass"), lossreg.build(deep)):
        assert "use input.unbind(1)" in refusal(loss, heads, t)
    t = t.squeeze(1) if kind == "labels with a channel" else t
    assert lossreg.build(deep)(heads.unbind(1), t).isfinite()


def test_classes_of_volumes_that_look_like_stacked_heads_need_a_task():
    """(N, C, 1, H, W) and class indices (N, 1, H, W) are volumes of one slice."""
    x, t = logits("multiclass"), hard_target("multiclass")
    assert refusal(build("dice"), x[:, :, None], t[:, None]).endswith(
        "for class indices of volumes set task='multiclass'"
    )
    torch.testing.assert_close(build("dice", "multiclass")(x[:, :, None], t[:, None]), build("dice")(x, t))


@pytest.mark.parametrize("name", ["cross_entropy", "dice", "topk"])
def test_masks_of_255_as_class_indices_are_told_to_be_divided(name):
    """To ignore 255 would ignore the whole foreground."""
    x, t = logits("multiclass")[:, :2], hard_target("binary")[:, 0]
    message = refusal(build(name), x, t * 255)
    assert "; use target // 255 for masks of 0 and 255, or set ignore_index=255 if it marks pixels" in message
    assert torch.equal(build(name)(x, t * 255 // 255), build(name)(x, t))
    marked = t.clone()
    marked[0, 0] = 255
    assert refusal(build(name), x, marked).endswith(
        "; set ignore_index=255 if it marks pixels to ignore, or give input a channel for each class"
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", ["bce", "dice", "lovasz_hinge", "boundary"])
def test_values_of_masks_decide_the_advice(name, dtype):
    """Classes on one channel, a mask of 0 and 255, the same with soft edges, and 255 beside 0 and 1."""
    x, t = logits("binary"), hard_target("binary").to(dtype)
    classes, soft = t.clone(), (t * 200).to(dtype)
    classes[0, 0, 0], classes[0, 0, 1] = 3, 2
    message = refusal(build(name), x, classes)
    assert "use target > 0 for a mask of all that is above 0, give input a channel for each class" in message
    assert torch.equal(build(name)(x, classes > 0), build(name)(x, (classes != 0).float()))
    marked = t.clone()
    marked[0, 0, 0] = 255
    assert refusal(build(name), x, marked).endswith("; set ignore_index=255 if it marks pixels to ignore")
    assert "; divide by 255" in refusal(build(name), x, t * 255)
    assert torch.equal(build(name)(x, t * 255 / 255), build(name)(x, t))
    soft[0, 0, 0, :4] = torch.tensor([3, 90, 120, 255]).to(dtype)
    assert "; divide by 255" in refusal(build(name), x, soft)


def test_an_overshoot_of_interpolation_is_clamped():
    x, t = logits("binary"), soft_target("binary")
    t[0, 0, 0, :2] = torch.tensor([1.02, -0.03])
    assert refusal(build("dice"), x, t).endswith("; use target.clamp(0, 1)")
    assert build("dice")(x, t.clamp(0, 1)).isfinite()


def test_pixels_that_are_nan_are_left_out():
    x, t = logits("binary"), soft_target("binary")
    t[0, 0, 0, 0] = torch.nan
    message = refusal(build("bce"), x, t)
    assert message.endswith("; use target.nan_to_num(255) with ignore_index=255 to leave out the pixels that are NaN")
    expected = F.binary_cross_entropy_with_logits(x[0, 0].flatten()[1:], t[0, 0].flatten()[1:])
    found = build("bce", ignore_index=255)(x[:1], t[:1].nan_to_num(255))
    torch.testing.assert_close(found, expected)


def test_soft_masks_are_not_told_to_become_class_indices():
    """.long() would make all of them the background."""
    x, t = logits("multiclass"), soft_target("binary")[:, 0]
    assert refusal(build("dice"), x, t).endswith("; give a soft target of shape (4, 3, 3, 5)")
    labels = hard_target("multiclass")
    assert refusal(build("dice"), x, labels.double()).endswith("; use target.long()")
    assert torch.equal(build("dice")(x, labels.double().long()), build("dice")(x, labels))


@pytest.mark.parametrize("size, mode", [((6,), "linear"), ((6, 10), "bilinear"), ((2, 6, 10), "trilinear")])
def test_logits_of_another_resolution_are_told_to_be_interpolated(size, mode):
    small = tuple(n // 2 for n in size)
    x, t = logits("multiclass", size=small), hard_target("multiclass", size=size)
    call = f"F.interpolate(input, {size}, mode={mode!r})"
    for name in ("cross_entropy", "topk"):
        assert refusal(build(name), x, t).endswith(f"; if both show one image, use {call}")
        assert build(name)(eval(call, {"F": F, "input": x}), t).isfinite()


def test_pixels_in_another_order_are_told_to_be_turned():
    x, t = logits("binary"), hard_target("binary")
    assert refusal(build("dice"), x, t.transpose(-1, -2)).endswith(
        "; height and width are in another order: use target.transpose(-1, -2)"
    )
    assert torch.equal(build("dice")(x, t.transpose(-1, -2).transpose(-1, -2)), build("dice")(x, t))
    assert refusal(build("dice"), x, t.flatten(2)).endswith("; use target.unflatten(-1, (3, 5))")
    assert torch.equal(build("dice")(x, t.flatten(2).unflatten(-1, (3, 5))), build("dice")(x, t))


def test_what_models_return_beside_logits_is_named():
    x, t = logits("binary"), hard_target("binary")
    assert refusal(build("dice"), {"out": x, "aux": x}, t).endswith(
        "got dict; give the tensor alone, such as input['out']"
    )
    assert "for outputs of several resolutions use deep_supervision" in refusal(build("dice"), [x, x], t)


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype stage")
@each_family
def test_sparse_and_nested_tensors_are_refused(name, task):
    """And a view of negated values is right."""
    x, t = logits(task), target_of(task, "hard")
    loss = build(name, task)
    expected = loss(x, t)
    for given in ((x.to_sparse(), t), (x, t.to_sparse())):
        assert ".to_dense()" in refusal(loss, *given)
    for given in ((torch.nested.nested_tensor(list(x)), t), (x, torch.nested.nested_tensor(list(t)))):
        assert "pad it with .to_padded_tensor" in refusal(loss, *given)
    assert torch.equal(loss(torch._neg_view(-x), t), expected)
    assert torch.equal(loss(x, torch._neg_view(-t.double()) if t.ndim == x.ndim else t), expected)
