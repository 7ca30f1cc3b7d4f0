"""Signed distances to the boundary of a mask: equal to a search through all pairs of pixels."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from lossreg.errors import DTypeError, ImplementationError, InputError, ShapeError
from lossreg_segmentation.boundary import Boundary
from lossreg_segmentation.distance import boundary_distance, signed_distance
from lossreg_segmentation.hausdorff import HausdorffDT

from .cases import hard_target, logits
from .oracles_shapes import brute_force


def masks(batch, classes, *size, density=0.4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, classes, *size, generator=generator) < density


def test_a_square_has_minus_one_at_its_rim_and_minus_two_in_its_middle():
    """3 x 3 pixels inside 5 x 5; the corners of the image are a diagonal away."""
    t = torch.zeros(1, 1, 5, 5)
    t[..., 1:4, 1:4] = 1
    far = 2**0.5
    rows = [
        [far, 1, 1, 1, far],
        [1, -1, -1, -1, 1],
        [1, -1, -2, -1, 1],
        [1, -1, -1, -1, 1],
        [far, 1, 1, 1, far],
    ]
    torch.testing.assert_close(signed_distance(t)[0, 0], torch.tensor(rows), rtol=1e-6, atol=0)


def test_a_line_of_one_pixel_is_one_pixel_deep():
    t = torch.zeros(1, 1, 3, 4)
    t[..., 1, :] = 1
    assert signed_distance(t)[0, 0].tolist() == [[1] * 4, [-1] * 4, [1] * 4]


def test_a_disc_is_as_deep_as_its_radius():
    y, x = torch.meshgrid(torch.arange(21) - 10, torch.arange(21) - 10, indexing="ij")
    found = signed_distance((y**2 + x**2 <= 36)[None, None])[0, 0]
    assert found.min() == found[10, 10] == -(37**0.5)
    assert found[10, 20] == 4


@pytest.mark.parametrize("density", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("size", [(7,), (6, 9), (1, 8), (4, 3, 5)], ids=str)
def test_it_equals_a_search_through_all_pairs(size, density):
    """Several masks at once, each with its own result."""
    t = masks(3, 2, *size, density=density)
    expected = np.stack([brute_force(m.numpy()) for m in t.flatten(0, 1)]).reshape(t.shape)
    found = signed_distance(t)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("where", [(0, 0), (7, 0), (3, 9), (7, 9), (4, 4)], ids=str)
def test_an_object_at_any_border_has_its_distances(where):
    """The search within its bounding box covers every pixel that can be the nearest."""
    t = torch.zeros(1, 1, 8, 10, dtype=torch.bool)
    y, x = where
    t[..., max(y - 2, 0) : y + 2, max(x - 1, 0) : x + 3] = True
    np.testing.assert_allclose(signed_distance(t)[0, 0].numpy(), brute_force(t[0, 0].numpy()), rtol=1e-6)


@pytest.mark.parametrize("spacing", [(3.0, 0.5), (1.0, 1.0), (0.1, 10.0)], ids=str)
def test_spacing_is_the_size_of_a_pixel_along_each_axis(spacing):
    """The nearest pixel itself depends on it."""
    t = masks(1, 2, 7, 8, density=0.2)
    expected = np.stack([brute_force(m.numpy(), spacing) for m in t[0]])
    np.testing.assert_allclose(signed_distance(t, spacing=spacing)[0].numpy(), expected, rtol=1e-6)


def test_a_mask_without_a_boundary_is_zero_everywhere():
    """Empty and full masks; the distances of other masks in the batch are unchanged."""
    t = masks(1, 3, 5, 5)
    t[0, 0], t[0, 2] = False, True
    found = signed_distance(t)
    assert found[0, 0].count_nonzero() == found[0, 2].count_nonzero() == 0
    np.testing.assert_allclose(found[0, 1].numpy(), brute_force(t[0, 1].numpy()), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.float64], ids=str)
def test_any_type_of_mask_gives_the_same_map(dtype):
    t = masks(2, 2, 5, 6)
    assert torch.equal(signed_distance(t.to(dtype)), signed_distance(t))


@pytest.mark.parametrize("threads", [1, 3])
def test_several_threads_keep_each_mask_in_its_place(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    t = masks(3, 2, 6, 7)
    alone = torch.stack([signed_distance(m[None, None])[0, 0] for m in t.flatten(0, 1)])
    assert torch.equal(signed_distance(t), alone.view(t.shape))


def test_an_empty_batch_has_an_empty_map():
    assert signed_distance(torch.zeros(0, 2, 4, 5)).shape == (0, 2, 4, 5)


def test_above_one_half_is_inside():
    t = torch.tensor([[[0.0, 0.5, 0.51, 1.0]]])
    assert signed_distance(t).tolist() == [[[2, 1, -1, -2]]]


def test_ignored_pixels_count_as_outside():
    t = torch.tensor([[[1, 1, 255, 0]]], dtype=torch.uint8)
    assert signed_distance(t, ignore_index=255).tolist() == [[[-2, -1, 1, 2]]]


@pytest.mark.parametrize(
    "target, options, error, message",
    [
        (torch.zeros(2, 3), {}, ShapeError, "masks have shape (2, 3), expected (N, C, *): distances need an axis"),
        (torch.zeros(1, 1, 4, 4), {"spacing": [1.0]}, ShapeError, "spacing has 1 sizes, masks have 2 axes after"),
        (torch.zeros(1, 1, 4), {"spacing": [0.0]}, InputError, "sizes of a pixel, positive and finite, got [0.0]"),
        (torch.zeros(1, 1, 4), {"spacing": [float("inf")]}, InputError, "positive and finite, got [inf]"),
        (torch.full((1, 1, 4), 255), {}, InputError, "target contains 255, masks must have values from 0 to 1"),
        (torch.zeros(1, 1, 4, dtype=torch.complex64), {}, DTypeError, "bool, integer or float, got torch.complex64"),
        ([[1]], {}, DTypeError, "target must be a tensor of masks, bool, integer or float, got list"),
    ],
    ids=["no axes", "short spacing", "zero spacing", "infinite spacing", "255", "complex", "list"],
)
def test_what_is_no_mask_is_refused(target, options, error, message):
    with pytest.raises(error) as caught:
        signed_distance(target, **options)
    assert message in str(caught.value)


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    """None in sys.modules makes an import fail as if the package were missing."""
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(ImplementationError, match=r"pip install 'lossreg-segmentation\[boundary\]'") as caught:
        signed_distance(torch.zeros(1, 1, 4, 4))
    assert caught.value.implementation == "scipy"
    assert "distance=" in str(caught.value)


def test_the_operator_is_what_it_tells_compilers():
    """Torch's own checks of its schema, its fake and its tracing."""
    for spacing in (None, [1.0, 2.0]):
        torch.library.opcheck(boundary_distance, (masks(2, 2, 4, 5), spacing))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_map_of_a_target_on_a_gpu_is_there():
    t = masks(2, 2, 5, 6)
    found = signed_distance(t.cuda())
    assert found.is_cuda
    assert torch.equal(found.cpu(), signed_distance(t))


def tensors():
    return logits("binary", size=(7, 6)), hard_target("binary", size=(7, 6))


def test_boundary_with_a_map_needs_no_scipy(monkeypatch):
    x, t = tensors()
    distance = signed_distance(t)
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    assert Boundary()(x, t, distance=distance).isfinite()
    with pytest.raises(ImplementationError, match=r"lossreg-segmentation\[boundary\]"):
        Boundary()(x, t)


@pytest.mark.parametrize("loss", [Boundary, HausdorffDT])
@pytest.mark.parametrize(
    "distance, error, message",
    [
        (torch.ones(4, 1, 7, 6, dtype=torch.int64), DTypeError, "floating tensor, from signed_distance(target), got"),
        (np.ones(3), DTypeError, "from signed_distance(target), got ndarray"),
        (
            torch.ones(4, 7, 6),
            ShapeError,
            "got (4, 7, 6); give signed_distance the masks in that shape",
        ),
        (
            torch.ones(1, 1, 7, 6),
            ShapeError,
            "got (1, 1, 7, 6); give signed_distance the masks in that shape",
        ),
        (torch.ones(4, 1, 7, 6, device="meta"), InputError, "input is on cpu and distance on meta; move one"),
    ],
    ids=["integers", "array", "three axes", "batch of one", "device"],
)
def test_what_is_no_map_of_these_masks_is_refused(loss, distance, error, message):
    with pytest.raises(error) as caught:
        loss()(*tensors(), distance=distance)
    assert message in str(caught.value)


@pytest.mark.parametrize("loss", [Boundary, HausdorffDT])
def test_spacing_of_other_axes_is_refused(loss):
    with pytest.raises(ShapeError, match="spacing has 3 sizes, masks have 2 axes"):
        loss(spacing=[1.0, 1.0, 1.0])(*tensors())
