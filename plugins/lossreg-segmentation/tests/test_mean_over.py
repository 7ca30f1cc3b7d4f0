"""The divisor of a mean over pixels: the sum of their weights, or their number."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import lossreg

from .cases import DENSE, NAMES

MEANS = {
    "bce",
    "cross_entropy",
    "poly1",
    "focal",
    "asymmetric_focal",
    "bce_dice_focal",
    "unified_focal",
    "topk",
    "ohem_cross_entropy",
    "boundary",
    "region_size",
    "hausdorff_dt",
}
CLASSES = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


def build(name, **params):
    return lossreg.build({"name": name, "params": {"mean_over": "pixels", **params}})


@pytest.mark.parametrize("name", sorted({*NAMES, *DENSE} - MEANS))
def test_a_loss_without_a_mean_over_pixels_refuses_the_option(name):
    """Dice divides by volumes: a parameter that changed nothing would mislead."""
    with pytest.raises(lossreg.LossregError, match=r"mean_over has no meaning for .*no mean over pixels; leave it out"):
        build(name)


@pytest.mark.parametrize("name", sorted(MEANS))
def test_a_loss_with_a_mean_over_pixels_takes_it(name):
    assert build(name).mean_over == "pixels"


def test_an_unknown_divisor_names_the_two():
    with pytest.raises(lossreg.InputError, match="mean_over is 'weights' or 'pixels', got 'batch'"):
        type(lossreg.build("bce"))(mean_over="batch")


@pytest.mark.parametrize("batch", [False, True])
def test_weights_of_classes_divide_by_the_number_of_pixels(batch):
    """A mean over pixels is that of torch's cross-entropy of each pixel: a rare class keeps its factor."""
    torch.manual_seed(0)
    x, t = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randint(3, (2, 4, 5))
    found = build("cross_entropy", class_weight=CLASSES.tolist(), batch=batch)(x, t)
    torch.testing.assert_close(found, cross_entropy(x, t, weight=CLASSES, reduction="none").mean())


def test_soft_classes_with_weights_are_those_of_torch():
    """torch's own mean over soft classes with weights is one over pixels."""
    torch.manual_seed(0)
    x, t = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.rand(2, 3, 4, 5, dtype=torch.float64).softmax(1)
    found = build("cross_entropy", task="multiclass", class_weight=CLASSES.tolist())(x, t)
    torch.testing.assert_close(found, cross_entropy(x, t, weight=CLASSES))


@pytest.mark.parametrize("name", ["cross_entropy", "topk", "ohem_cross_entropy"])
@pytest.mark.parametrize("soft", [False, True])
def test_pixels_of_classes_that_are_left_out_are_not_among_the_number(name, soft):
    """Neither in cross-entropy nor among the hardest pixels, which here are all; soft pixels count in part."""
    torch.manual_seed(0)
    x, t = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randint(3, (2, 4, 5))
    t = torch.rand(2, 3, 4, 5, dtype=torch.float64).softmax(1) if soft else t
    every = {"topk": {"k": 1.0}, "ohem_cross_entropy": {"min_share": 1.0}}.get(name, {})
    shares = t if soft else torch.nn.functional.one_hot(t, 3).movedim(-1, 1).double()
    summed = -(shares * x.log_softmax(1) * torch.tensor([0.0, 2.0, 1.0]).view(3, 1, 1))
    expected = (summed.flatten(1).sum(1) / shares[:, 1:].flatten(1).sum(1)).mean()
    loss = build(name, task="multiclass", class_weight=[5, 2, 1], background=False, **every)
    torch.testing.assert_close(loss(x, t), expected)


def test_weights_of_some_classes_have_no_number_of_pixels():
    """The error names the weights that give it: 0 at the pixels of the others."""
    torch.manual_seed(0)
    x, t = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randint(3, (2, 4, 5))
    w = torch.rand(2, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(lossreg.InputError, match="leave out background= and classes=, and set the weight to 0 at the"):
        build("cross_entropy", background=False)(x, t, weight=w)
    own = w * (t != 0).unsqueeze(1)
    values = own[:, 0] * cross_entropy(x, t, reduction="none")
    expected = (values.flatten(1).sum(1) / (own > 0).flatten(1).sum(1)).mean()
    torch.testing.assert_close(build("cross_entropy")(x, t, weight=own), expected)


@pytest.mark.parametrize("name", ["topk", "ohem_cross_entropy"])
def test_the_hardest_pixels_divide_by_their_number(name):
    """With every pixel among the hardest, the mean is that of torch's cross-entropy of each pixel."""
    torch.manual_seed(0)
    x, t = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randint(3, (2, 4, 5))
    every = {"k": 1.0} if name == "topk" else {"min_share": 1.0}
    found = build(name, class_weight=CLASSES.tolist(), **every)(x, t)
    torch.testing.assert_close(found, cross_entropy(x, t, weight=CLASSES, reduction="none").mean())
