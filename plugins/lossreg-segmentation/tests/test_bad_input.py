"""Refused input: each message names the given value and the remedy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import lossreg
from lossreg_segmentation import BCE, Dice

from .cases import (
    CASES,
    CHANNELS,
    CLASSES,
    EVERY_CASE,
    INDEPENDENT,
    NAMES,
    SORTED,
    WITHOUT_POLICY,
    build,
    each_family,
    each_name,
    every_case,
    hard_target,
    logits,
    tasks_of,
)

pytestmark = pytest.mark.usefixtures("on_reference")

MULTICLASS = [name for name, task in CASES if task == "multiclass"]


@each_family
def test_a_batch_of_one_is_not_broadcast_against_two(name, task):
    """In both directions; the message names both shapes."""
    x, t = logits(task, batch=2), hard_target(task, batch=2)
    for pair in ((x[:1], t), (x, t[:1])):
        shape = tuple(pair[1].shape)
        with pytest.raises(lossreg.ShapeError, match="nothing is broadcast") as caught:
            build(name, task)(*pair)
        assert f"got {shape}" in str(caught.value)


@pytest.mark.parametrize("size", [(3, 4), (5, 3), (15,), (1, 5)], ids=str)
@each_family
def test_images_of_other_sizes_are_refused(name, task, size):
    with pytest.raises(lossreg.ShapeError, match=r"input has shape \(4, \d, 3, 5\), so target must have that shape or"):
        build(name, task)(logits(task), hard_target(task, size=size))


@each_name
def test_one_mask_is_not_broadcast_over_channels(name):
    with pytest.raises(lossreg.ShapeError, match=r"got \(4, 1, 3, 5\); nothing is broadcast"):
        build(name, "multilabel")(logits("multilabel"), hard_target("binary"))
    with pytest.raises(lossreg.ShapeError, match=r"one mask per channel, target \(4, 3, 3, 5\), got \(4, 3, 5\)"):
        build(name, "multilabel")(logits("multilabel"), hard_target("binary")[:, 0])


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
@each_name
def test_input_that_is_not_floating_is_refused(name, dtype):
    x, t = logits("binary").to(dtype), hard_target("binary")
    message = rf"must be a floating tensor of logits, got {dtype}; give the model's output before argmax or a threshold"
    with pytest.raises(lossreg.DTypeError, match=message):
        build(name)(x, t)


@each_name
def test_what_is_no_tensor_is_refused_by_its_type(name):
    x, t = logits("binary"), hard_target("binary")
    with pytest.raises(lossreg.DTypeError, match="got ndarray; give the tensor that the model returned"):
        build(name)(x.numpy(), t)
    for task in ("auto", "binary"):
        with pytest.raises(
            lossreg.DTypeError, match=r"target must be a tensor, got list; use torch.as_tensor\(target\)"
        ):
            build(name, task)(x, t.tolist())
        with pytest.raises(lossreg.DTypeError, match="target must be a tensor, got ndarray"):
            build(name, task)(x, np.zeros((4, 1, 3, 5)))


@each_name
def test_complex_targets_and_flat_input_are_refused(name):
    with pytest.raises(lossreg.DTypeError, match=r"target must be bool, integer or float, got torch\.complex64"):
        build(name)(logits("binary"), hard_target("binary").to(torch.complex64))
    with pytest.raises(lossreg.ShapeError, match=r"input has shape \(4,\), expected \(N, C, \*\)"):
        build(name)(torch.zeros(4), torch.zeros(4))


@each_name
def test_the_two_tensors_are_named(name):
    x, t = logits("binary"), hard_target("binary")
    assert build(name)(x, target=t) == build(name)(x, t)
    with pytest.raises(lossreg.InputError, match="needs target; call it as"):
        build(name)(x)


@every_case
def test_an_empty_batch_is_refused(name, task):
    with pytest.raises(lossreg.ShapeError, match="the batch is empty; skip empty batches in the loader"):
        build(name, task)(logits(task, batch=0), hard_target(task, batch=0))


@pytest.mark.parametrize("wrong", [-1, 3, 255])
@pytest.mark.parametrize("name", MULTICLASS)
def test_a_class_index_out_of_range_is_named(name, wrong):
    """With the remedy for pixels to ignore; and the remedy works."""
    x, t = logits("multiclass"), hard_target("multiclass")
    t[1, 2, 3] = wrong
    message = (
        rf"target contains class index {wrong}, input has 3 classes \(0 to 2\); set ignore_index={wrong} if it marks"
    )
    with pytest.raises(lossreg.InputError, match=message):
        build(name)(x, t)
    assert build(name, ignore_index=wrong)(x, t).isfinite()


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (255, "target contains 255, masks must have values from 0 to 1; divide by 255, or set ignore_index=255"),
        (2, "target contains 2, .*; use target > 0 .*, give input a channel for each class, or set ignore_index=2"),
        (-1, "target contains -1, .*; use target > 0 for a mask of all that is above 0, or set ignore_index=-1"),
        (1.5, "target contains 1.5, masks must have values from 0 to 1; scale it$"),
        (1.01, r"target contains 1.01, masks must have values from 0 to 1; use target.clamp\(0, 1\)$"),
        (float("nan"), r"target contains nan, .*; use target.nan_to_num\(255\) with ignore_index=255 to leave out"),
    ],
)
@pytest.mark.parametrize("name, task", [(name, "binary") for name in NAMES] + [("dice", "multiclass")])
def test_mask_values_outside_zero_and_one_are_named(name, task, wrong, hint):
    """A mask of 0 and 255 must not train on a loss of 255 times the size."""
    t = torch.zeros(4, CHANNELS[task], 3, 5, dtype=torch.float64 if isinstance(wrong, float) else torch.int64)
    t[1, 0, 2, 3] = wrong
    with pytest.raises(lossreg.InputError, match=hint):
        build(name, task)(logits(task), t)


SWAPPED = r", or are input and target swapped\?$"


@pytest.mark.parametrize("name, task", [(name, "binary") for name in NAMES] + [("dice", "multiclass")])
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_swapped_masks_and_logits_are_noticed(name, task, kind):
    """The target holds logits, and the input would be a mask. Some libraries call a loss with the target first."""
    x, t = logits(task), logits(task).sigmoid()
    t = t.round() if kind == "hard" else t
    with pytest.raises(lossreg.InputError, match="masks must have values from 0 to 1; scale it" + SWAPPED):
        build(name, task)(t, x)


@pytest.mark.parametrize("name", ["dice", "boundary"])
def test_targets_that_are_merely_wrong_are_not_called_swapped(name):
    """Logits have other values than a mask; an integer mask of 0 and 255 is no output of a model."""
    x, t = logits("binary"), hard_target("binary")
    for given, wrong in ((x, t * 3.0), (x * 0, t * 255)):
        with pytest.raises(lossreg.InputError, match="masks must have values from 0 to 1") as caught:
            build(name)(given, wrong)
        assert "swapped" not in str(caught.value)


@each_name
def test_a_target_of_another_type_or_shape_in_the_place_of_logits_is_noticed(name):
    """Class indices, masks of integers or bool, and masks without a channel."""
    x, t = logits("binary"), hard_target("binary")
    for mask in (t.long(), t.bool(), t.byte()):
        with pytest.raises(lossreg.DTypeError, match=r"have no gradient" + SWAPPED):
            build(name)(mask, x)
    with pytest.raises(
        lossreg.ShapeError, match=r"\(4, 3, 5\) and target \(4, 1, 3, 5\).*; use input.unsq.*" + SWAPPED
    ):
        build(name)(t[:, 0].double(), x)
    with pytest.raises(lossreg.ShapeError, match=r"target \(4, 3, 3, 5\).*; are input and target swapped\?$"):
        build(name)(t[:, 0].double(), logits("multilabel"))
    with pytest.raises(lossreg.ShapeError, match="add the missing dimensions" + SWAPPED):
        build(name)(torch.zeros(4), torch.zeros(4, 3))
    assert build(name)(x[:, 0].unsqueeze(1), t) == build(name)(x, t)  # the other advice


def test_channels_in_the_last_dimension_are_named_before_a_task():
    """As Keras has them. The advice gives the loss of channels in the second dimension."""
    x, t = logits("binary"), hard_target("binary")
    message = r"set task=.*; if its last dimension has the channels, use \.movedim\(-1, 1\) on input and target$"
    with pytest.raises(lossreg.InputError, match=message):
        build("dice")(x.movedim(1, -1), t.movedim(1, -1))
    with pytest.raises(lossreg.InputError, match=r"task='multiclass' \(softmax\)$"):
        build("dice")(logits("multiclass"), hard_target("multilabel"))
    x, t = logits("multiclass"), hard_target("multiclass")
    with pytest.raises(
        lossreg.ShapeError, match=r"if the last axis of input has the channels, use input.movedim\(-1, 1"
    ):
        build("dice")(x.movedim(1, -1), t)
    assert build("dice")(x.movedim(1, -1).movedim(-1, 1), t) == build("dice")(x, t)


@each_name
def test_a_target_with_channels_in_the_last_dimension_is_told_to_move_them(name):
    """As one_hot returns them; no task would make it fit."""
    task = tasks_of(name)[-1]
    x = logits(task)
    t = F.one_hot(hard_target("multiclass"), 3)
    for given in ("auto", task):
        with pytest.raises(lossreg.ShapeError, match=r"the last axis of target has .* use target.movedim\(-1, 1\)$"):
            build(name, given)(x, t)
    assert build(name, task)(x, t.movedim(-1, 1)).isfinite()


@pytest.mark.parametrize("task", ["auto", "multiclass"])
@pytest.mark.parametrize("name", MULTICLASS)
def test_class_indices_with_a_channel_are_told_to_drop_it(name, task):
    """MONAI's labels are (N, 1, *). The advice gives the loss of class indices (N, *)."""
    x, t = logits("multiclass"), hard_target("multiclass")
    advice = r"class indices have no channel: use target\.squeeze\(1\); one mask .*'shared'$"
    with pytest.raises(lossreg.ShapeError, match=advice):
        build(name, task)(x, t.unsqueeze(1))
    assert build(name, task)(x, t.unsqueeze(1).squeeze(1)).isfinite()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
@pytest.mark.parametrize("name", MULTICLASS)
def test_masks_with_one_channel_per_class_need_a_task(name, dtype):
    """One-hot and independent masks look alike, so nothing is guessed from the values."""
    with pytest.raises(lossreg.InputError, match=r"set task='multilabel'.* or task='multiclass'"):
        build(name, "auto")(logits("multilabel"), hard_target("multilabel").to(dtype))


def test_they_need_none_where_a_loss_has_only_one():
    """Independent masks for bce, classes for wasserstein_dice: nothing else would fit."""
    x, t = logits("multilabel"), hard_target("multilabel")
    assert torch.equal(build("bce", "auto")(x, t), build("bce", "multilabel")(x, t))
    classes = F.one_hot(hard_target("multiclass"), 3).movedim(-1, 1)
    found, expected = (build("wasserstein_dice", task)(x, classes) for task in ("auto", "multiclass"))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
@pytest.mark.parametrize("name", MULTICLASS)
def test_class_indices_must_be_integers(name, dtype):
    with pytest.raises(
        lossreg.DTypeError, match=rf"class indices, which are integers, got {dtype}; use target.long\(\)"
    ):
        build(name)(logits("multiclass"), hard_target("multiclass").to(dtype))


@pytest.mark.parametrize("name", INDEPENDENT)
@pytest.mark.parametrize("task", ["auto", "multiclass"])
def test_losses_of_independent_masks_refuse_classes(name, task):
    given = "a multiclass target" if task == "auto" else "task='multiclass'"
    with pytest.raises(lossreg.LossregError, match=rf"binary and multilabel, got {given}; .* use cross_entropy"):
        build(name, task)(logits("multiclass"), hard_target("multiclass"))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("task", ["auto", "binary"])
def test_losses_of_classes_refuse_masks(name, task):
    given = "a binary target" if task == "auto" else "task='binary'"
    with pytest.raises(lossreg.LossregError, match=rf"is for multiclass, got {given}; .* use bce"):
        build(name, task)(logits("binary"), hard_target("binary"))


@pytest.mark.parametrize("name", MULTICLASS)
def test_a_task_that_does_not_fit_the_channels_is_refused(name):
    """Softmax of one channel is the constant 1: it would have no gradient."""
    with pytest.raises(lossreg.ShapeError, match="with one channel is constant 1 after softmax; use task='binary'"):
        build(name, "multiclass")(logits("binary"), hard_target("binary")[:, 0])
    with pytest.raises(lossreg.ShapeError, match="task='binary' takes one channel, got C=3; use task='multilabel'"):
        build(name, "binary")(logits("multiclass"), hard_target("multilabel"))


@pytest.mark.parametrize("name, task", [case for case in EVERY_CASE if case[0] != "wasserstein_dice"])
def test_class_weight_has_one_weight_per_class(name, task):
    wrong = [1.0] * (CHANNELS[task] + 1)
    expected = f"class_weight has {len(wrong)} weights, input has {CHANNELS[task]} classes; give one per class"
    with pytest.raises(lossreg.LossregError, match=expected) as caught:
        build(name, task, class_weight=wrong)(logits(task), hard_target(task))
    assert ("remove class_weight" in str(caught.value)) == (task == "binary")


@pytest.mark.parametrize("weights", [[0.0, 0.0], []])
def test_class_weights_that_weigh_nothing_are_refused_when_built(weights):
    with pytest.raises(lossreg.InvalidConfigError, match=r"class_weight"):
        build("dice", class_weight=weights)


def test_pos_weight_and_alpha_have_one_value_per_class():
    x, t = logits("multilabel"), hard_target("multilabel")
    with pytest.raises(lossreg.ShapeError, match="pos_weight has 2 values, input has 3 classes; give one per class"):
        build("bce", "multilabel", pos_weight=[1.0, 2.0])(x, t)
    x, t = logits("multiclass"), hard_target("multiclass")
    with pytest.raises(lossreg.ShapeError, match="alpha has 2 values, input has 3 classes; give one per class"):
        build("focal", alpha=[1.0, 2.0])(x, t)


CONTRADICTIONS = {  # params of a config that fits no input, with the message
    "cross_entropy": ({"task": "multiclass", "pos_weight": 2.0}, "pos_weight is the weight .*; weigh classes by"),
    "bce": ({"task": "multiclass"}, "BCE is for binary and multilabel, got task='multiclass'; .* use cross_entropy"),
    "lovasz_softmax": ({"task": "shared"}, "LovaszSoftmax is for multiclass, got task='shared'; .* use bce"),
    "focal": ({"task": "multiclass", "alpha": 0.5}, "alpha=0.5 is the weight .*; give alpha as a list of factors"),
    "topk": ({"task": "multiclass", "absent": "zero"}, "absent='zero' has no meaning for softmax TopK.*'score'"),
    "dice": ({"task": "binary", "class_weight": [1, 2]}, r"\(remove class_weight: a single class needs none\)"),
    "jaccard": ({"task": "binary", "classes": [1]}, "classes contains 1, input has 1 classes"),
    "bce of two": ({"task": "binary", "pos_weight": [1, 2]}, "pos_weight has 2 values, input has 1 classes"),
    "focal of two": ({"task": "binary", "alpha": [0.1, 0.2]}, "alpha has 2 values, input has 1 classes"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_config_that_fits_no_input_is_refused_when_it_is_built(name):
    """Before the data are read, where the task of the config decides it."""
    params, message = CONTRADICTIONS[name]
    with pytest.raises(lossreg.InvalidConfigError, match=message):
        lossreg.build({"name": name.partition(" ")[0], "params": params})


def test_alpha_is_a_list_for_classes():
    with pytest.raises(
        lossreg.InputError, match=r"alpha=0\.5 is the weight of positive against .* a list of factors, one for"
    ):
        build("focal", alpha=0.5)(logits("multiclass"), hard_target("multiclass"))


@pytest.mark.parametrize("absent", ["ignore", "zero", "false_positives"])
@pytest.mark.parametrize("name", WITHOUT_POLICY)
def test_absent_has_no_meaning_for_softmax_pixel_losses(name, absent):
    message = rf"absent='{absent}' has no meaning for softmax \w+: .*; leave absent='score'"
    with pytest.raises(lossreg.LossregError, match=message):
        build(name, absent=absent)(logits("multiclass"), hard_target("multiclass"))


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("name, task", [case for case in EVERY_CASE if case[0] in (*NAMES, *SORTED)])
def test_values_of_a_whole_batch_do_not_split_over_examples(name, task, reduction):
    with pytest.raises(lossreg.InputError, match=rf"reduction='{reduction}' needs .* splits .*; use reduction='mean'"):
        build(name, task, batch=True, reduction=reduction)(logits(task), hard_target(task))


def test_misspelled_options_are_refused_even_without_a_config():
    """A typo in reduction="maen" returned unreduced values in a peer."""
    x, t = logits("binary"), hard_target("binary")
    with pytest.raises(lossreg.InputError, match="reduction must be 'mean', 'sum' or 'none', got 'maen'"):
        Dice(reduction="maen")
    with pytest.raises(
        lossreg.InputError, match="absent is 'score', 'ignore', 'zero' or 'false_positives', got 'skip'"
    ):
        Dice(absent="skip")(x, t)
    with pytest.raises(lossreg.InputError, match="'multiclass' or 'shared', got 'multi'"):
        BCE(task="multi")(x, t)
    with pytest.raises(lossreg.InvalidConfigError, match=r"smoth.*smooth"):
        lossreg.build({"name": "dice", "params": {"smoth": 1.0}})
