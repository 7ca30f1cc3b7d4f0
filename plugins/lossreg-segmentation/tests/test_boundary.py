"""The boundary loss, and code shared with the other losses that depend on shapes: Hausdorff and clDice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lossreg.errors import ShapeError
from lossreg_segmentation.boundary import Boundary
from lossreg_segmentation.cldice import CLDice
from lossreg_segmentation.distance import signed_distance
from lossreg_segmentation.hausdorff import HausdorffDT, HausdorffER

from .cases import TASKS, hard_target, logits, value_and_gradient
from .oracles import oracle

SIZE = (7, 6)
LOSSES = {
    "boundary": Boundary,
    "hausdorff_dt": HausdorffDT,
    "hausdorff_er": HausdorffER,
    "cldice": CLDice,
}
each_name = pytest.mark.parametrize("name", LOSSES)
each_task = pytest.mark.parametrize("task", TASKS)


def tensors(task, **options):
    """Return logits and hard targets of connected shapes: large errors, which survive erosions."""
    x, t = logits(task, size=SIZE, scale=6.0, **options), hard_target(task, size=SIZE)
    t[..., 1:6, 1:5] = 1
    return x - 4 * (t if t.ndim == x.ndim else 0), t


def ignoring(task):
    """Return the target with 9 at its ignored pixels, and a mask of these pixels in the logits."""
    x, t = tensors(task)
    t[0, ..., 2, :], t[1, ..., :, 3] = 9, 9
    ignored = t == 9 if t.ndim == x.ndim else (t == 9).unsqueeze(1).expand_as(x)
    return x, t, ignored


def test_a_right_square_has_minus_its_depth():
    """3 x 3 of 5 x 5: eight pixels of depth 1 and one of depth 2, over 25; all wrong, 12 + 4 sqrt 2 outside."""
    t = torch.zeros(1, 1, 5, 5)
    t[..., 1:4, 1:4] = 1
    right = torch.where(t > 0, 60.0, -60.0)
    assert Boundary()(right, t).item() == pytest.approx(-10 / 25, rel=1e-6)
    assert Boundary()(-right, t).item() == pytest.approx((12 + 4 * 2**0.5) / 25, rel=1e-6)


def test_the_gradient_is_the_map():
    """At p = 1/2 it is phi / 4 per pixel: it pushes a far pixel more than a near one."""
    t = torch.tensor([[[1.0, 1.0, 0.0, 0.0, 0.0]]])
    _, gradient = value_and_gradient(Boundary(), torch.zeros(1, 1, 5), t)
    torch.testing.assert_close(gradient, torch.tensor([[[-2.0, -1.0, 1.0, 2.0, 3.0]]]) / 20)


@pytest.mark.parametrize("loss", [Boundary, HausdorffDT])
def test_spacing_measures_in_its_unit(loss):
    x, t = tensors("binary")
    one = loss()(x, t)
    assert loss(spacing=[2.0, 2.0])(x, t).item() == pytest.approx(one.item() * (2 if loss is Boundary else 4), rel=1e-6)
    assert abs(loss(spacing=[1.0, 3.0])(x, t) - one) > 1e-2
    if loss is Boundary:
        expected = oracle("boundary")(x, t, task="binary", spacing=(1.0, 3.0))
        found = loss(spacing=[1.0, 3.0]).evaluate(x, t).per_example
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [Boundary, HausdorffDT])
@each_task
def test_a_map_that_was_computed_before_gives_the_same(loss, task):
    x, t = tensors(task)
    masks = torch.stack([t == c for c in range(3)], 1) if task == "multiclass" else t
    spacing = [1.0, 3.0]
    given = loss(task=task, spacing=spacing)(x, t, distance=signed_distance(masks, spacing=spacing))
    assert torch.equal(given, loss(task=task, spacing=spacing)(x, t))
    assert loss(task=task)(x, t, distance=torch.ones_like(x)) != loss(task=task)(x, t)


@pytest.mark.parametrize("loss", [Boundary, HausdorffDT])
def test_a_map_may_be_nan_under_ignored_pixels(loss):
    x, t, ignored = ignoring("binary")
    distance = signed_distance(t, ignore_index=9)
    value, gradient = value_and_gradient(
        lambda x: loss(ignore_index=9)(x, t, distance=distance.masked_fill(ignored, torch.nan)), x
    )
    assert torch.equal(value, loss(ignore_index=9)(x, t))
    assert gradient.isfinite().all()


@each_name
def test_logits_without_an_axis_of_pixels_are_refused(name):
    with pytest.raises(ShapeError, match=r"ha(s|ve) shape \(2, 1\), expected \(N, C, \*\)"):
        LOSSES[name]()(torch.zeros(2, 1), torch.zeros(2, 1))


@each_task
@each_name
def test_the_gradient_is_that_of_the_value(name, task):
    """In 2-D, in float64, away from the kinks."""
    x, t = tensors(task)
    loss = LOSSES[name](task=task)
    assert torch.autograd.gradcheck(lambda x: loss(x, t[:1]), x[:1].clone().requires_grad_(), fast_mode=True)
