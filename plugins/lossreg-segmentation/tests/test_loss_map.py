"""`loss_map`: the loss of each pixel, whose mean is the loss."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import lossreg
from lossreg_segmentation import loss_map

from .cases import build, hard_target, logits, marked, own, soft_target, some_valid, tasks_of

NAMES = ("bce", "cross_entropy", "focal", "poly1", "asymmetric_focal")
CASES = [(name, task) for name in NAMES for task in tasks_of(name)]
each_case = pytest.mark.parametrize("name, task", CASES, ids=["-".join(case) for case in CASES])


def mean(values):
    """Return the mean over the pixels of each example or mask, and then over those."""
    return values.flatten(2).nanmean(2).nanmean()


@pytest.mark.parametrize("kind", [hard_target, soft_target])
@each_case
def test_the_mean_of_the_map_is_the_loss(name, task, kind):
    x, t = logits(task).requires_grad_(), kind(task)
    for batch in (False, True):
        loss = build(name, task, batch=batch, **own(name, task))
        (key, found), *others = loss_map(loss, x, t).items()
        assert (key, others) == (name, [])
        assert found.shape == (4, 1 if task == "multiclass" else x.shape[1], 3, 5)
        assert not found.requires_grad
        torch.testing.assert_close(mean(found), loss(x, t).detach(), rtol=1e-12, atol=0)


@each_case
def test_pixels_that_are_ignored_are_nan_and_leave_the_mean_alone(name, task):
    x, t = logits(task), marked(hard_target(task), some_valid(), 7)
    loss = build(name, task, ignore_index=7, reduction="none")
    found = loss_map(loss, x, t)[name]
    assert torch.equal(found.isnan(), ~some_valid().unsqueeze(1).expand(found.shape))
    kept = [0, 1, 3]  # example 2 has no valid pixel
    torch.testing.assert_close(found[kept].flatten(2).nanmean(2).mean(1), loss(x, t)[kept], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "params",
    [{"class_weight": [1.0, 2.0, 0.5]}, {"class_weight": [0, 1, 2]}, {"background": False}, {"classes": [0, 2]}],
)
@pytest.mark.parametrize("over", ["weights", "pixels"])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_weights_of_classes_are_in_the_map(task, batch, over, params):
    x, t = logits(task), hard_target(task)
    loss = build("cross_entropy", task, batch=batch, mean_over=over, **params)
    found = loss_map(loss, x, t)["cross_entropy"]
    value = found.nanmean() if batch and task == "multiclass" else mean(found)
    torch.testing.assert_close(value, loss(x, t), rtol=1e-12, atol=0)


def test_literal_maps_are_those_of_torch_without_reduction():
    x, t = logits("multiclass"), hard_target("multiclass")
    expected = cross_entropy(x, t, reduction="none", label_smoothing=0.1).unsqueeze(1)
    loss = build("cross_entropy", "multiclass", label_smoothing=0.1)
    torch.testing.assert_close(loss_map(loss, x, t)["cross_entropy"], expected)
    x, t = logits("binary"), hard_target("binary").double()
    expected = binary_cross_entropy_with_logits(x, t, reduction="none", pos_weight=torch.tensor(3.0))
    for target in (t, t[:, 0]):
        torch.testing.assert_close(loss_map(build("bce", pos_weight=3.0), x, target)["bce"], expected)


@pytest.mark.parametrize("size", [(), (7,), (2, 3, 4)])
def test_any_number_of_axes(size):
    x, t = logits("multiclass", size=size), hard_target("multiclass", size=size)
    found = loss_map(build("cross_entropy", "multiclass"), x, t)["cross_entropy"]
    torch.testing.assert_close(found, cross_entropy(x, t, reduction="none").unsqueeze(1))


def test_the_loss_is_unchanged_and_half_precision_is_read_wider():
    x, t = logits("multilabel"), hard_target("multilabel")
    loss = build("bce", "multilabel", batch=True)
    before = loss(x, t)
    assert loss_map(loss, x.half(), t)["bce"].dtype == torch.float32
    assert loss.batch
    assert loss.distributed == "local"
    assert torch.equal(loss(x, t), before)


@pytest.mark.parametrize("name", ["dice", "lovasz_softmax", "topk", "unified_focal", "bce_dice_focal"])
def test_other_losses_have_no_map(name):
    with pytest.raises(
        lossreg.InputError, match=r"has no map.*; give loss_map a BCE, CrossEntropy, Focal, Poly1, AsymmetricFocal$"
    ):
        loss_map(build(name), logits("binary"), hard_target("binary"))


def test_a_sum_names_a_part_that_has_a_map():
    """The advice works."""
    loss = lossreg.build("weighted_sum", terms=["dice", {"name": "power", "params": {"loss": "bce"}}])
    x, t = logits("binary"), hard_target("binary")
    message = r"WeightedSum has no map.*, such as loss\.get_submodule\('parts\.1\.parts\.0'\)$"
    with pytest.raises(lossreg.InputError, match=message):
        loss_map(loss, x, t)
    torch.testing.assert_close(
        loss_map(loss.get_submodule("parts.1.parts.0"), x, t), loss_map(build("bce", "binary"), x, t)
    )


@pytest.mark.parametrize("over", ["weights", "pixels"])
@pytest.mark.parametrize("class_weight", [None, [0.5, 2.0, 1.0]])
@each_case
def test_weights_of_pixels_are_in_the_map(name, task, class_weight, over):
    """The mean of the map is the weighted loss; a pixel of weight 0 is NaN, for any logit and target."""
    if task == "binary" and class_weight:
        pytest.skip("one channel has no class weights")
    generator = torch.Generator().manual_seed(3)
    x, t = logits(task), hard_target(task)
    w = torch.randint(3, (len(x), 1, *x.shape[2:]), generator=generator).double() / 2
    x, t = torch.where(w > 0, x, torch.nan), torch.where((w[:, 0] if t.ndim < x.ndim else w) > 0, t, 77)
    for batch in (False, True):
        loss = build(name, task, batch=batch, mean_over=over, class_weight=class_weight, **own(name, task))
        found = loss_map(loss, x, t, weight=w)[name]
        assert torch.equal(found.isnan(), (w == 0).expand_as(found))
        by_mask = found.transpose(0, 1).flatten(1).nanmean(1) if batch else found.flatten(2).nanmean(2)
        torch.testing.assert_close(by_mask.mean(), loss(x, t, weight=w), rtol=1e-12, atol=0)


def test_a_weight_of_each_mask_and_of_single_pixels():
    """Weights (B, C, *) of independent masks, and (B,) of images of one pixel."""
    x, t = logits("multilabel"), hard_target("multilabel")
    w = torch.rand(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    loss = build("focal", "multilabel")
    torch.testing.assert_close(mean(loss_map(loss, x, t, weight=w)["focal"]), loss(x, t, weight=w))
    x, t, w = x[:, :, 0, 0], t[:, 0, 0, 0], w[:, 0, 0, 0]
    loss = build("cross_entropy", "multiclass", batch=True)
    found = loss_map(loss, x, t, weight=w)["cross_entropy"]
    torch.testing.assert_close(found.mean(), loss(x, t, weight=w))


@pytest.mark.parametrize(
    "params, message",
    [
        ({"absent": "ignore", "task": "multilabel"}, "absent='ignore'; use absent='score'"),
        ({"label_smoothing": 0.1, "background": False, "task": "multiclass"}, "set label_smoothing=0"),
    ],
)
def test_maps_without_a_meaning_are_refused(params, message):
    task = params["task"]
    loss = lossreg.build({"name": "cross_entropy", "params": params})
    with pytest.raises(lossreg.InputError, match=message):
        loss_map(loss, logits(task), hard_target(task))
