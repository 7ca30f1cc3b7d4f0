"""Classes that count: background=False and classes=[..], equal to MONAI, nnU-Net's Dice and to a loop over classes."""

from __future__ import annotations

import warnings

import pytest
import torch

import lossreg
from lossreg_segmentation.cldice import CLDice

from .cases import DENSE, INDEPENDENT, NAMES, build, hard_target, logits, soft_target, value_and_gradient

CHOOSING = [name for name in (*NAMES, *DENSE) if name != "wasserstein_dice"]
PER_CLASS = ("dice", "squared_dice", "log_cosh_dice", "jaccard", "tversky", "focal_tversky", "mcc", "lovasz_softmax")


def pair(name, size=(3, 5)):
    task = "multilabel" if name in (*INDEPENDENT, "lovasz_hinge") else "multiclass"
    return task, logits(task, size=size), hard_target(task, size=size)


@pytest.mark.parametrize("name", [name for name in CHOOSING if name not in ("topk", "ohem_cross_entropy")])
def test_no_background_is_a_weight_of_zero_for_class_0(name):
    task, x, t = pair(name)
    expected = value_and_gradient(build(name, task, class_weight=[0.0, 1.0, 1.0]), x, t)
    for params in ({"background": False}, {"classes": [1, 2]}, {"classes": [2, 1]}):
        found = value_and_gradient(build(name, task, **params), x, t)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", CHOOSING)
def test_the_choice_of_classes_composes_with_their_weights(name):
    task, x, t = pair(name)
    expected = build(name, task, class_weight=[0.0, 2.0, 0.5], classes=[1, 2])(x, t)
    for params in ({"background": False}, {"classes": [1, 2]}):
        found = build(name, task, class_weight=[9.0, 2.0, 0.5], **params)(x, t)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    assert build(name, task, class_weight=[9.0, 2.0, 0.5], classes=[0, 1, 2])(x, t) != expected


@pytest.mark.parametrize("name", PER_CLASS)
def test_the_loss_of_some_classes_is_the_mean_over_them(name):
    """Each class alone, added up and divided by the number of those that count."""
    _, x, t = pair(name)
    alone = [build(name, "multiclass", classes=[c])(x, t).item() for c in range(3)]
    for classes in ([0], [0, 2], [0, 1, 2]):
        expected = sum(alone[c] for c in classes) / len(classes)
        assert build(name, "multiclass", classes=classes)(x, t).item() == pytest.approx(expected, rel=1e-12)
    assert build(name, "multiclass", background=False)(x, t).item() == pytest.approx(sum(alone[1:]) / 2, rel=1e-12)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "poly1", "topk", "ohem_cross_entropy"])
def test_pixels_of_the_background_do_not_count_in_a_mean_over_pixels(name):
    """As if the target ignored them, where class 0 remains in the softmax."""
    _, x, t = pair(name)
    expected = value_and_gradient(build(name, "multiclass", ignore_index=0), x, t)
    found = value_and_gradient(build(name, "multiclass", background=False), x, t)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_soft_pixels_that_are_partly_background_count_partly():
    """-sum_c t_c log p_c over classes 1 and 2, divided by their share of the pixels."""
    x, t = logits("multiclass"), soft_target("multiclass")
    summed = -(t * x.log_softmax(1))[:, 1:].flatten(1).sum(1)
    expected = (summed / t[:, 1:].flatten(1).sum(1)).mean()
    torch.testing.assert_close(build("cross_entropy", "multiclass", background=False)(x, t), expected)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_monai_without_background(task, batch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation warnings from MONAI's own imports
        monai = pytest.importorskip("monai.losses", reason="MONAI is not installed: parity with it is not checked")
    multiclass = task == "multiclass"
    theirs = monai.DiceLoss(
        softmax=multiclass, sigmoid=not multiclass, to_onehot_y=multiclass, include_background=False, batch=batch
    )
    x, t = logits(task), hard_target(task)
    expected = value_and_gradient(theirs, x, t.unsqueeze(1) if multiclass else t)
    found = value_and_gradient(build("dice", task, smooth=1e-5, background=False, batch=batch), x, t)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch", [False, True])
def test_nnunet_without_background(batch):
    """Its SoftDiceLoss(do_bg=False): -mean over classes 1.. of (2 TP + s) / (2 TP + FP + FN + s); ours is 1 more."""
    x, t = logits("multiclass"), hard_target("multiclass")
    p, y = x.softmax(1)[:, 1:], torch.nn.functional.one_hot(t, 3).movedim(-1, 1)[:, 1:]
    axes = (0, 2, 3) if batch else (2, 3)
    tp, fp, fn = (p * y).sum(axes), (p * (1 - y)).sum(axes), ((1 - p) * y).sum(axes)
    theirs = -((2 * tp + 1) / (2 * tp + fp + fn + 1)).mean()
    ours = build("dice", "multiclass", background=False, batch=batch)(x, t)
    assert ours.item() - 1 == pytest.approx(theirs.item(), rel=1e-12)


def test_a_loss_of_positions_without_background():
    x, t = logits("multiclass", size=(9, 9)), hard_target("multiclass", size=(9, 9))
    torch.testing.assert_close(CLDice(background=False)(x, t), CLDice(class_weight=[0, 1, 1])(x, t))


@pytest.mark.parametrize("name", ["dice", "cross_entropy"])
def test_changed_classes_and_weights_are_followed(name):
    """A loss that was called before; also weights that change in place, and that begin to learn."""
    task, x, t = pair(name)
    loss = build(name, task, class_weight=[1.0, 2.0, 4.0], background=False)
    before = loss(x, t)
    loss.class_weight[1] = 7.0
    torch.testing.assert_close(loss(x, t), build(name, task, class_weight=[0.0, 7.0, 4.0])(x, t))
    loss.background = True
    torch.testing.assert_close(loss(x, t), build(name, task, class_weight=[1.0, 7.0, 4.0])(x, t))
    loss.classes = (1,)
    assert loss(x, t) != before
    loss.class_weight.requires_grad_()
    loss.classes = (0, 1)
    loss(x, t).backward()
    assert (loss.class_weight.grad != 0).tolist() == [True, True, False]


@pytest.mark.tools
@pytest.mark.parametrize("name", ["dice", "cross_entropy", "topk"])
def test_compiled(name):
    torch._dynamo.reset()  # earlier tests have used up the limit of shapes
    task, x, t = pair(name)
    loss = build(name, task, class_weight=[1.0, 2.0, 4.0], classes=[0, 2])
    found = torch.compile(loss, fullgraph=True, backend="eager")(x, t)
    torch.testing.assert_close(found, loss(x, t), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"background": False, "task": "binary"}, "one channel has no background: leave out background=False"),
        ({"background": False, "classes": [1]}, "both choose classes; leave out background=False"),
        ({"classes": []}, "classes"),
        ({"classes": [-1]}, "classes"),
        ({"classes": [1, 1]}, r"classes has at least one index >= 0, each once, got \[1, 1\]"),
        ({"classes": [3], "class_weight": [1, 1, 1]}, "classes contains 3, input has 3 classes; give indices from 0"),
        ({"background": False, "class_weight": [1, 0, 0]}, "class_weight is zero for every class that counts"),
        ({"classes": [1], "class_weight": [1, 0, 1]}, "class_weight is zero for every class that counts"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused_when_built(params, message):
    with pytest.raises(lossreg.InvalidConfigError, match=message):
        lossreg.build({"name": "dice", "params": params})


@pytest.mark.parametrize("name", ["dice", "bce", "lovasz_hinge", "topk"])
def test_one_channel_has_no_background(name):
    """MONAI warns and goes on."""
    with pytest.raises(lossreg.InputError, match="one channel has no background, and the input has one; leave out"):
        build(name, background=False)(logits("binary"), hard_target("binary"))
    kept = build(name, classes=[0])(logits("binary"), hard_target("binary"))
    torch.testing.assert_close(kept, build(name)(logits("binary"), hard_target("binary")))


@pytest.mark.parametrize("name", ["dice", "cross_entropy", "lovasz_softmax", "topk", "generalized_dice"])
def test_a_class_beyond_the_input_is_refused(name):
    with pytest.raises(lossreg.ShapeError, match="classes contains 3, input has 3 classes; give indices from 0 to 2"):
        build(name, "multiclass", classes=[1, 3])(logits("multiclass"), hard_target("multiclass"))


@pytest.mark.parametrize("params", [{"background": False}, {"classes": [1, 2]}])
def test_a_loss_without_a_mean_over_classes_refuses_a_choice(params):
    with pytest.raises(lossreg.InvalidConfigError, match="background= and classes= have no meaning for Wasserstein"):
        build("wasserstein_dice", **params)
