"""boundary_dou against its published code, written out pixel by pixel, and region_size against two means."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

import lossreg
from lossreg import InputError, ShapeError
from lossreg_segmentation.statistics import implementation

from .cases import build

pytestmark = pytest.mark.usefixtures("on_tiles")


def tensors(classes=4, size=(9, 11), batch=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    blobs = torch.randn(batch, classes, *size, generator=generator).cumsum(-1)
    return torch.randn(batch, classes, *size, generator=generator).to(dtype), blobs.argmax(1)


def published(p, t, smooth=1e-5):
    """Compute the loss of one mask of several images, (N, *) each, by the loops of its code."""
    edge = 0
    for place in itertools.product(*map(range, t.shape)):
        around = [(*place[:axis], place[axis] + by, *place[axis + 1 :]) for axis in range(1, t.ndim) for by in (-1, 1)]
        inner = all(0 <= at[axis] < t.shape[axis] for at in around for axis in range(t.ndim)) and all(
            t[at] for at in around
        )
        edge += bool(t[place]) and not inner
    a = min(2 * (1 - (edge + smooth) / (t.sum().item() + smooth)) - 1, 0.8)
    overlap, predicted, actual = (p * t).sum(), (p * p).sum(), (t * t).sum()
    return (predicted + actual - 2 * overlap + smooth) / (predicted + actual - (1 + a) * overlap + smooth)


@pytest.mark.parametrize("size", [(9, 11), (4, 5, 3), (12,)])
def test_it_is_the_published_loss(size):
    """Softmax over the batch, the mean over all classes; in 3-D with the neighbours along three axes."""
    x, t = tensors(size=size)
    p, masks = x.softmax(1), F.one_hot(t, 4).movedim(-1, 1).double()
    whole = torch.stack([published(p[:, c], masks[:, c]) for c in range(4)])
    output = build("boundary_dou", batch=True).evaluate(x, t)
    assert output.total.item() == pytest.approx(whole.mean().item(), rel=1e-13)
    each = torch.stack(
        [torch.stack([published(p[n : n + 1, c], masks[n : n + 1, c]) for c in range(4)]) for n in range(3)]
    )
    torch.testing.assert_close(build("boundary_dou").evaluate(x, t).per_example, each.mean(1), rtol=1e-13, atol=0)


def test_the_factor_of_the_overlap():
    """-1 for a mask that is all edge, which gives a loss without an overlap below; 0.8 for one that is nearly none."""
    x = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    line, square = torch.zeros(2, 1, 1, 40, 40, dtype=torch.bool)
    line[..., 7, :], square[..., 2:38, 2:38] = True, True
    for mask, a in ((line, -1.0), (square, min(2 * (1 - 140 / 1296) - 1, 0.8))):
        overlap, whole = mask.sum() / 2, 1600 / 4 + mask.sum()
        expected = (whole - 2 * overlap) / (whole - (1 + a) * overlap)
        assert build("boundary_dou")(x, mask).item() == pytest.approx(expected.item(), rel=1e-6)
    assert min(2 * (1 - 140 / 1296) - 1, 0.8) < 0.8
    large = torch.zeros(1, 1, 200, 200, dtype=torch.bool)
    large[..., 2:198, 2:198] = True  # an edge of 780 of 38416 pixels
    overlap, whole = large.sum() / 2, 40000 / 4 + large.sum()
    expected = (whole - 2 * overlap) / (whole - 1.8 * overlap)
    assert build("boundary_dou")(x.new_zeros(1, 1, 200, 200), large).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["boundary_dou", "region_size"])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_ignored_pixels_and_weights_of_zero(name, task):
    """Count nowhere, with any logit under them; a border between a mask and ignored pixels is an edge."""
    x, t = tensors()
    t = t if task == "multiclass" else (F.one_hot(t, 4).movedim(-1, 1) > 0).long()
    marked, weight = t.clone(), torch.ones(3, 1, 9, 11, dtype=torch.float64)
    marked[..., 8:], weight[..., 8:] = 255, 0
    x[..., 8:] = torch.nan
    x.requires_grad_()
    expected = build(name, task=task)(x[..., :8], t[..., :8])
    wanted = torch.autograd.grad(expected, x)[0]
    for loss, options in ((build(name, task=task, ignore_index=255), {}), (build(name, task=task), {"weight": weight})):
        value = loss(x, marked if not options else t, **options)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, x)[0], wanted)
        nothing = torch.full_like(t, 255) if not options else t
        empty = loss(x, nothing, **{key: w * 0 for key, w in options.items()})
        assert empty.item() == 0
        assert not torch.autograd.grad(empty, x)[0].any()


def test_a_whole_weight_repeats_pixels_of_the_size():
    """Twice the weight everywhere is the same share of edge and overlap."""
    x, t = tensors()
    twice = torch.full((3, 1, 9, 11), 2.0, dtype=torch.float64)
    assert build("boundary_dou", smooth=0)(x, t, weight=twice).item() == pytest.approx(
        build("boundary_dou", smooth=0)(x, t).item()
    )


def test_masks_without_pixels():
    """Cost 1 without a gradient by the formula; `absent` decides otherwise."""
    x, t = torch.randn(2, 1, 5, 6, dtype=torch.float64, requires_grad=True), torch.zeros(2, 1, 5, 6)
    value = build("boundary_dou")(x, t)
    assert value.item() == 1
    assert not torch.autograd.grad(value, x)[0].any()
    assert build("boundary_dou", absent="false_positives")(x, t).item() == pytest.approx(x.sigmoid().mean().item())
    full = torch.full_like(x, 40.0, requires_grad=True)
    assert build("boundary_dou", smooth=0)(full, torch.ones_like(t)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["boundary_dou", "region_size"])
@pytest.mark.parametrize("batch", [False, True])
def test_gradients(name, batch):
    x, t = tensors(size=(4, 5), batch=2)
    with implementation("reference"):
        assert torch.autograd.gradcheck(lambda x: build(name, batch=batch)(x, t), (x.requires_grad_(),))


@pytest.mark.parametrize("name", ["boundary_dou", "region_size"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype):
    """Computes in float32, also under large logits."""
    x, t = tensors(dtype=dtype)
    for scale in (1, 1000):
        given = (x * scale).requires_grad_()
        value = build(name)(given, t)
        torch.testing.assert_close(value, build(name)(given.detach().double(), t).float(), rtol=1e-5, atol=1e-6)
        assert torch.autograd.grad(value, given)[0].isfinite().all()


@pytest.mark.parametrize("mean_over", ["weights", "pixels"])
def test_region_size_is_the_difference_of_two_means(mean_over):
    """Of each class, in each image or in the batch; weighted by the sum of the weights or the number of pixels."""
    x, t = tensors()
    weight = torch.rand(3, 1, 9, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.5
    difference = weight * (x.softmax(1) - F.one_hot(t, 4).movedim(-1, 1))
    whole = weight.sum((2, 3)) if mean_over == "weights" else 99
    expected = (difference.sum((2, 3)) / whole).abs().mean(1)
    output = build("region_size", mean_over=mean_over).evaluate(x, t, weight=weight)
    torch.testing.assert_close(output.per_example, expected, rtol=1e-12, atol=0)
    whole = (x.softmax(1) - F.one_hot(t, 4).movedim(-1, 1)).mean((0, 2, 3)).abs().mean()
    assert build("region_size", batch=True)(x, t).item() == pytest.approx(whole.item(), rel=1e-12)


def test_region_size_is_a_bias_beside_cross_entropy():
    """In a sum, from one pass; alone it does not see where the pixels are."""
    x, t = tensors()
    loss = lossreg.build("weighted_sum", terms=["cross_entropy", {"name": "region_size", "weight": 0.1}])
    expected = build("cross_entropy")(x, t) + 0.1 * build("region_size")(x, t)
    assert loss(x, t).item() == pytest.approx(expected.item())
    first, second = loss.passes(x, t)
    assert first.merged(second) is not None
    mirrored = build("region_size")(x.flip(-1), t)
    assert mirrored.item() == pytest.approx(build("region_size")(x, t).item(), rel=1e-12)


def test_what_has_no_edge():
    with pytest.raises(
        ShapeError, match=r"input has shape \(4, 3\), expected \(N, C, \*\): an edge needs an axis after C"
    ):
        build("boundary_dou", task="multiclass")(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InputError, match="mean_over has no meaning for BoundaryDoU"):
        lossreg.losses.get("boundary_dou")(mean_over="pixels")


@pytest.mark.tools
@pytest.mark.parametrize("name", ["boundary_dou", "region_size"])
def test_it_compiles_to_one_graph(name):
    torch.compiler.reset()
    x, t = tensors(dtype=torch.float32)
    loss = build(name)
    x.requires_grad_()
    value = torch.compile(loss, fullgraph=True, backend="aot_eager")(x, t)
    torch.testing.assert_close(value, loss(x, t))
    torch.testing.assert_close(torch.autograd.grad(value, x), torch.autograd.grad(loss(x, t), x))


@pytest.mark.parametrize("name", ["boundary_dou", "region_size"])
def test_the_reference_has_the_same_value(name):
    x, t = tensors()
    expected = build(name)(x, t).item()
    with implementation("reference"):
        assert build(name)(x, t).item() == pytest.approx(expected, rel=1e-12)
