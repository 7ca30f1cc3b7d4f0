"""components, voronoi, border_weights and hard_skeleton against searches through all pixels."""

from __future__ import annotations

import itertools
import math
import sys

import pytest
import torch

import lossreg
from lossreg.errors import DTypeError, ImplementationError, InputError, ShapeError
from lossreg_segmentation import border_weights, components, hard_skeleton, voronoi

pytest.importorskip("scipy")


def masks(*size, density=0.35, seed=0):
    return torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(seed)) < density


def neighbours(at, shape, diagonal):
    for step in itertools.product((-1, 0, 1), repeat=len(shape)):
        near = tuple(a + b for a, b in zip(at, step, strict=True))
        if 0 < sum(map(abs, step)) <= (len(shape) if diagonal else 1) and all(
            0 <= a < n for a, n in zip(near, shape, strict=True)
        ):
            yield near


def flooded(mask, diagonal):
    """Return the components of one mask as a set of sets of places."""
    left = {tuple(at) for at in mask.nonzero().tolist()}
    found = set()
    while left:
        front = [left.pop()]
        one = set(front)
        while front:
            for near in neighbours(front.pop(), mask.shape, diagonal):
                if near in left:
                    left.remove(near)
                    one.add(near)
                    front.append(near)
        found.add(frozenset(one))
    return found


@pytest.mark.parametrize("size", [(9, 11), (4, 5, 6), (1, 12)])
@pytest.mark.parametrize("diagonal", [True, False])
def test_components(size, diagonal):
    """Those of a flood from each pixel, numbered from 1 in every mask."""
    given = masks(*size)
    labels = components(given, diagonal=diagonal)
    assert labels.dtype == torch.int32
    assert labels.shape == given.shape
    for mask, numbers in zip(given.flatten(0, 1), labels.flatten(0, 1), strict=True):
        each = {frozenset(map(tuple, (numbers == n).nonzero().tolist())) for n in range(1, int(numbers.max()) + 1)}
        assert each == flooded(mask, diagonal)
        assert ((numbers > 0) == mask).all()


def distances(numbers):
    """Return the distance of each pixel to each object, by all pairs: {number: (*)}."""
    places = torch.stack(torch.meshgrid(*map(torch.arange, numbers.shape), indexing="ij"), -1).double()
    flat = places.flatten(0, -2)
    return {
        n: torch.cdist(flat, places[numbers == n]).amin(1).view(numbers.shape) for n in numbers.unique().tolist() if n
    }


@pytest.mark.parametrize("size", [(9, 11), (4, 5, 6), (1, 12)])
def test_voronoi(size):
    """The number of a nearest component; pixels of components keep theirs."""
    labels = components(masks(*size, density=0.1))
    cells = voronoi(labels)
    assert cells.dtype == labels.dtype
    for numbers, found in zip(labels.flatten(0, 1), cells.flatten(0, 1), strict=True):
        each = distances(numbers)
        least = torch.stack([*each.values()]).amin(0)
        for n, distance in each.items():
            assert torch.equal(distance[found == n], least[found == n])
        assert torch.equal(found[numbers > 0], numbers[numbers > 0])
    assert not voronoi(torch.zeros(1, 1, 4, 4, dtype=torch.uint8)).any()


@pytest.mark.parametrize("size", [(14, 17), (5, 6, 7), (1, 60)])
@pytest.mark.parametrize("w0, sigma", [(10, 5), (3, 1), (0, 2)])
def test_border_weights(size, w0, sigma):
    """The formula of the paper, with the distances to the two nearest of all objects."""
    labels = components(masks(*size, density=0.12), diagonal=False) * 100
    found = border_weights(labels, w0=w0, sigma=sigma)
    assert found.dtype == torch.float32
    for numbers, weights in zip(labels.flatten(0, 1), found.flatten(0, 1), strict=True):
        each = torch.stack([*distances(numbers).values()]).sort(0).values
        expected = 1 + w0 * torch.exp(-((each[0] + each[1]) ** 2) / (2 * sigma**2))
        torch.testing.assert_close(weights, expected.float(), rtol=1e-6, atol=0)


def test_border_weights_by_hand():
    """Two objects with two pixels between them: 1 and 2 away. One object alone has no border."""
    labels = torch.tensor([[[[1, 0, 0, 2]]]], dtype=torch.uint8)
    near = 1 + 10 * math.exp(-9 / 50)
    assert border_weights(labels).flatten().tolist() == pytest.approx([near] * 4)
    assert border_weights(labels.clamp_max(1) * (labels != 2)).flatten().tolist() == [1.0] * 4
    wide = torch.zeros(1, 1, 1, 200, dtype=torch.int64)
    wide[..., 0], wide[..., -1] = 1, 2
    assert border_weights(wide).unique().tolist() == [1.0]


def test_hard_skeleton():
    """A bar has its middle line; a tube widens it inside the bar alone, by pixels along the axes."""
    pytest.importorskip("skimage")
    bar = torch.zeros(1, 1, 9, 20, dtype=torch.uint8)
    bar[..., 2:7, 2:18] = 1
    thin = hard_skeleton(bar, tube=0)
    assert thin.dtype == torch.uint8
    assert thin[0, 0, 4, 5:15].all()
    assert not thin[0, 0, [2, 3, 5, 6], 6:14].any()
    assert torch.equal(
        hard_skeleton(bar, tube=1)[0, 0, :, 8], torch.tensor([0, 0, 0, 1, 1, 1, 0, 0, 0], dtype=torch.uint8)
    )
    assert torch.equal(hard_skeleton(bar)[..., 8], bar[..., 8])
    assert not (hard_skeleton(bar, tube=5) > bar).any()
    volume = bar.unsqueeze(2).expand(-1, -1, 5, -1, -1).bool()
    line = hard_skeleton(volume, tube=0)
    assert line.any()
    assert line.sum() < volume.sum() / 4
    assert len(flooded(line[0, 0], True)) == 1


def test_a_skeleton_keeps_what_is_connected():
    """As many components as the masks, and a ring keeps its hole."""
    pytest.importorskip("skimage")
    rows, columns = torch.meshgrid(torch.arange(30) - 15, torch.arange(30) - 15, indexing="ij")
    radius = (rows**2 + columns**2).float().sqrt()
    ring = ((radius > 6) & (radius < 11))[None, None]
    line = hard_skeleton(ring, tube=0)
    assert components(line).max() == 1
    assert components(~line, diagonal=False).max() == 2


def test_maps_in_losses():
    """As options of losses: weights, regions, cells and skeletons, from one target."""
    pytest.importorskip("skimage")
    t = masks(12, 13)[:, :1]
    x = torch.randn(2, 1, 12, 13, generator=torch.Generator().manual_seed(1))
    labels = components(t)
    recall = {"name": "targeted", "params": {"target": "skeleton", "loss": {"name": "tversky", "params": {"alpha": 0}}}}
    blob = {"name": "per_region", "params": {"loss": "dice", "background": "shared"}}
    cells = {"name": "per_region", "params": {"loss": "dice"}}
    for config, options in (
        ("bce", {"weight": border_weights(labels)}),
        (recall, {"skeleton": hard_skeleton(t)}),
        (blob, {"regions": labels}),
        (cells, {"regions": voronoi(labels)}),
    ):
        assert 0 < lossreg.build(config)(x, t, **options) < 2


@pytest.mark.parametrize("function", [components, hard_skeleton])
def test_masks_that_are_none(function):
    with pytest.raises(
        ShapeError, match=r"a map has shape \(4, 4\), expected \(N, C, H, W\) or more: add axes by \[None, None\]"
    ):
        function(torch.zeros(4, 4))
    with pytest.raises(InputError, match=r"a mask contains 255, .* or mask == 255 for masks of 0 and 255"):
        function(torch.full((1, 1, 4, 4), 255))
    with pytest.raises(InputError, match="a mask contains nan"):
        function(torch.full((1, 1, 4, 4), math.nan))
    with pytest.raises(DTypeError, match="expected a tensor of masks, bool, integer or float, got list"):
        function([[0, 1]])


@pytest.mark.parametrize("function", [voronoi, border_weights])
def test_labels_that_are_none(function):
    with pytest.raises(
        DTypeError, match=r"labels must be a tensor of integers, from components\(masks\), got torch.float32"
    ):
        function(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ShapeError, match="expected"):
        function(torch.zeros(4, 4, dtype=torch.int64))


def test_images_without_a_channel_are_no_lines():
    """Each row of (N, H, W) would be an image of its own; the axes that the message names give the right maps."""
    images = masks(9, 11)[0]
    for function, given in ((components, images), (voronoi, images.int()), (border_weights, images.int())):
        with pytest.raises(ShapeError, match=r"unsqueeze\(1\) for images \(N, H, W\), unsqueeze\(2\) for lines"):
            function(given)
    line = torch.tensor([[[1, 1, 0, 1]]])
    assert components(line.unsqueeze(2)).squeeze(2).tolist() == [[[1, 1, 0, 2]]]


def test_pixels_below_0_are_no_objects():
    """They count nowhere: no cell grows from them, and no border is beside them."""
    labels = torch.tensor([[[[-1, -1, 0, 0, 1, 0, 0, 2, 0]]]])
    assert voronoi(labels).flatten().tolist() == [-1, -1, 1, 1, 1, 1, 2, 2, 2]
    assert torch.equal(border_weights(labels), border_weights(labels.clamp_min(0)))
    assert voronoi(labels.clamp_max(0)).flatten().tolist() == [-1, -1, *[0] * 7]


def test_arrays_and_masks_are_no_labels():
    """A mask of bool is one object to border_weights, so its weights would be 1."""
    with pytest.raises(DTypeError, match=r"from components\(masks\), got torch.bool"):
        border_weights(masks(4, 4))
    with pytest.raises(DTypeError, match=r"got ndarray; use torch.as_tensor\(\) on it"):
        components(masks(4, 4).numpy())


def test_parameters_out_of_range():
    labels = torch.ones(1, 1, 4, 4, dtype=torch.int64)
    for w0, sigma in ((-1, 5), (10, 0), (math.nan, 1), (1, math.inf)):
        with pytest.raises(InputError, match="w0 must be at least 0 and sigma above 0"):
            border_weights(labels, w0=w0, sigma=sigma)
    for tube in (-1, 1.5, True):
        with pytest.raises(InputError, match="tube must be a number of pixels >= 0"):
            hard_skeleton(labels, tube=tube)
    with pytest.raises(ShapeError, match=r"expected \(N, C, H, W\) or \(N, C, D, H, W\)"):
        hard_skeleton(labels[None, None])


def test_no_examples():
    """Nothing to search."""
    assert components(torch.zeros(0, 1, 4, 4)).shape == (0, 1, 4, 4)
    assert border_weights(torch.zeros(0, 1, 4, 4, dtype=torch.int64)).dtype == torch.float32


@pytest.mark.parametrize("missing, extra", [("scipy.ndimage", "boundary"), ("skimage.morphology", "skeleton")])
def test_a_library_that_is_missing(monkeypatch, missing, extra):
    """The message names it and the extra."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImplementationError, match=rf"not installed: pip install 'lossreg-segmentation\[{extra}\]'"):
        hard_skeleton(torch.ones(1, 1, 4, 4))
