"""Soft skeletons, equal to loops over pixels, and clDice: values by hand, and a peer where it is correct."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossreg
from lossreg.errors import DTypeError, InputError, InvalidConfigError, ShapeError
from lossreg_segmentation.cldice import CLDice
from lossreg_segmentation.skeleton import dilation, erosion, extremum, soft_skeleton

from .cases import hard_target, logits, value_and_gradient
from .oracles_shapes import extremum as extremum_over
from .oracles_shapes import skeleton


def line(length=9, gap=()):
    """Return a horizontal line, one pixel wide."""
    t = torch.zeros(1, 1, 5, 11)
    t[..., 2, 1 : 1 + length] = 1
    t[..., 2, list(gap)] = 0
    return t


def hard(mask):
    return torch.where(mask > 0, 60.0, -60.0)


def test_a_line_is_its_own_skeleton():
    assert torch.equal(soft_skeleton(line(), 3), line())


def test_a_square_of_three_shrinks_to_its_middle_and_a_plate_of_five_needs_two_iterations():
    p = torch.zeros(1, 1, 7, 7)
    p[..., 2:5, 2:5] = 1
    middle = torch.zeros_like(p)
    middle[..., 3, 3] = 1
    assert torch.equal(soft_skeleton(p, 1), middle)
    p[..., 1:6, 1:6] = 1
    assert soft_skeleton(p, 1)[..., 3, 3] == 0
    assert soft_skeleton(p, 2)[..., 3, 3] == 1


def test_the_skeleton_of_a_disc_lies_in_it_and_has_its_centre():
    y, x = torch.meshgrid(torch.arange(15) - 7, torch.arange(15) - 7, indexing="ij")
    disc = (y**2 + x**2 <= 25)[None, None].float()
    skeleton = soft_skeleton(disc, 6)
    assert skeleton[0, 0, 7, 7] == 1
    assert 0 < skeleton.sum() < disc.sum() / 2
    assert (skeleton <= disc).all()


def test_empty_and_full_masks_have_no_skeleton():
    for p in (torch.zeros(1, 1, 6, 6), torch.ones(1, 1, 6, 6), torch.ones(1, 1, 3, 4, 5)):
        assert soft_skeleton(p, 5).count_nonzero() == 0


@pytest.mark.parametrize("iterations", [1, 4])
@pytest.mark.parametrize("size", [(7, 8), (1, 5), (6,), (4, 5, 3)], ids=str)
def test_a_skeleton_equals_the_loop_over_pixels(size, iterations):
    p = logits("multilabel", batch=2, size=size).sigmoid()
    expected = np.stack([skeleton(m.numpy(), iterations) for m in p.flatten(0, 1)]).reshape(p.shape)
    np.testing.assert_allclose(soft_skeleton(p, iterations).numpy(), expected, rtol=1e-12, atol=1e-15)
    assert torch.equal(soft_skeleton(p.half(), iterations), soft_skeleton(p.half().float(), iterations))


@pytest.mark.parametrize("size", [(6, 7), (3, 4, 5)], ids=str)
def test_erosion_and_dilation_are_the_least_and_the_largest_neighbour(size):
    p = logits("binary", batch=1, size=size)
    np.testing.assert_array_equal(erosion(p)[0, 0].numpy(), extremum_over(p[0, 0].numpy(), min, square=False))
    np.testing.assert_array_equal(dilation(p)[0, 0].numpy(), extremum_over(p[0, 0].numpy(), max, square=True))


@pytest.mark.parametrize("largest", [False, True])
def test_where_neighbours_are_equal_the_pixel_itself_has_the_gradient(largest):
    x = torch.ones(1, 1, 3, 4, requires_grad=True)
    extremum(x, [2, 3], largest).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("axes", [[2], [3], [2, 3]], ids=str)
def test_the_gradient_of_an_extremum_goes_where_it_was_found(axes):
    """First and second derivative, and torch's own checks of an operator."""
    x = logits("multilabel", batch=1, size=(4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: extremum(x, axes, True), x)
    assert torch.autograd.gradgradcheck(lambda x: extremum(x, axes, False) ** 2, x)
    torch.library.opcheck(extremum, (x, axes, False))
    torch.library.opcheck(extremum, (x.detach().transpose(2, 3).requires_grad_(), axes, True))


def test_the_memory_for_the_gradient_is_two_maps_an_iteration():
    """The rest is recomputed."""
    kept = 0

    def count(tensor):
        nonlocal kept
        kept += tensor.numel()
        return tensor

    p = torch.rand(1, 1, 32, 32, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        soft_skeleton(p, 10).sum()
    assert kept <= 2 * 11 * p.numel()


def test_a_gap_costs_its_share_of_the_line():
    """3 of 9 pixels are gone: precision 1, sensitivity 2/3, so 1 - 4/5. With smooth, 1 and 7/10."""
    x = hard(line(gap=(4, 5, 6)))
    assert CLDice(smooth=0.0)(x, line()).item() == pytest.approx(0.2, rel=1e-6)
    assert CLDice()(x, line()).item() == pytest.approx(1 - 1.4 / 1.7, rel=1e-6)
    assert CLDice()(hard(line()), line()).item() == pytest.approx(0, abs=1e-6)


def test_one_class_has_a_loss_and_a_gradient():
    """A peer excluded the first class and was constant 0 with one class."""
    value, gradient = value_and_gradient(CLDice(), hard(1 - line()) / 60, line())
    assert value > 0.5
    assert gradient.count_nonzero() > 0


def test_ignored_pixels_are_background_in_both_masks():
    """The prediction's skeleton has a hole there, for any prediction."""
    x, t = logits("binary", size=(8, 9)), hard_target("binary", size=(8, 9))
    t[..., 3:5, 2:7] = 9
    out = t == 9
    expected = CLDice()(x.masked_fill(out, -1e4), t.masked_fill(out, 0))
    torch.testing.assert_close(CLDice(ignore_index=9)(x, t), expected, rtol=1e-9, atol=0)


def test_class_weight_zero_leaves_the_background_out():
    x, t = logits("multiclass", size=(8, 9)), hard_target("multiclass", size=(8, 9))
    p = x.softmax(1)
    masks = torch.stack([t == c for c in (1, 2)], 1)
    expected = CLDice(task="multilabel")(p[:, 1:].logit(), masks)
    torch.testing.assert_close(CLDice(class_weight=[0, 1, 1])(x, t), expected, rtol=1e-9, atol=0)
    assert abs(CLDice()(x, t) - expected) > 1e-4


@pytest.mark.parametrize("fill", [0, 1])
def test_empty_and_full_masks(fill):
    """Equal ones cost nothing with smooth, and 1 without: there is no line to score."""
    t = torch.full((1, 1, 8, 8), fill)
    assert CLDice()(hard(t), t).item() == pytest.approx(0, abs=1e-6)
    value, gradient = value_and_gradient(CLDice(smooth=0.0), hard(t) * 4, t)
    assert value == 1
    assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [(12, 10), (5, 6, 7)], ids=str)
def test_it_equals_monai_for_one_class(size):
    """MONAI adds a small constant below the harmonic mean as well; here it is next to nothing."""
    monai = pytest.importorskip("monai.losses")
    x, t = logits("binary", size=size), hard_target("binary", size=size).double()
    peer = monai.SoftclDiceLoss(iter_=4, sigmoid=True, smooth=1e-15, include_background=True)
    value, gradient = value_and_gradient(CLDice(iterations=4), x, t)
    expected, other = value_and_gradient(peer, x, t)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(gradient, other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "p, iterations, error, message",
    [
        (torch.zeros(2, 3), 3, ShapeError, "masks have shape (2, 3), expected (N, C, *): a skeleton needs an axis"),
        (torch.zeros(1, 1, 4, dtype=torch.bool), 3, DTypeError, "floating tensor, got torch.bool; use mask.float()"),
        (None, 3, DTypeError, "floating tensor, got NoneType"),
        (torch.zeros(1, 1, 4), 0, InputError, "iterations must be from 1 to 64, got 0"),
        (torch.zeros(1, 1, 4), 65, InputError, "iterations must be from 1 to 64, got 65"),
    ],
    ids=["no axes", "bool", "none", "no iteration", "too many"],
)
def test_what_has_no_skeleton_is_refused(p, iterations, error, message):
    with pytest.raises(error) as caught:
        soft_skeleton(p, iterations)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"iterations": 0}, "params.iterations: expected an integer >= 1 and <= 64, got 0"),
        ({"iterations": 65}, "params.iterations: expected an integer >= 1 and <= 64, got 65"),
        ({"smooth": -1.0}, "params.smooth: expected a number >= 0, got -1.0"),
    ],
)
def test_a_config_outside_the_bounds_is_refused(params, message):
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.build({"name": "cldice", "params": params})
    assert message in str(caught.value)
