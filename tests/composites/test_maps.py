"""deep_supervision and point_sampled carry maps of a value for each pixel along, resized or sampled as they mean."""

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

from lossreg import DTypeError, InputError, InvalidConfigError, Loss, ShapeError, Term, build
from lossreg.composites.deep_supervision import DeepSupervision
from lossreg.composites.point_sampled import PointSampled
from lossreg.composites.resizing import maximum, resized
from lossreg_segmentation import Boundary, signed_distance
from tests.composite_cases import on_tiles

SIZES = [(8, 12), (4, 6), (2, 3)]


class Seen(Loss):
    """Keeps what it was called with; its value is the mean of weight, mask and distance times the input."""

    per_pixel: ClassVar = {"weight": "weight", "regions": "labels", "skeleton": "mask", "distance": "distance"}

    def __init__(self):
        super().__init__()
        self.calls = []

    def terms(self, input, target, *, weight=None, regions=None, skeleton=None, distance=None):
        self.calls.append({"weight": weight, "regions": regions, "skeleton": skeleton, "distance": distance})
        given = [each for each in (weight, skeleton, distance) if each is not None]
        given = [each.unsqueeze(1) if each.ndim < input.ndim else each for each in given]
        return {"seen": Term((input * sum(given, start=torch.ones(()))).flatten(1).mean(1))}


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def levels():
    return [random(2, 3, *size) for size in SIZES]


def masks():
    return (random(2, 3, *SIZES[0]) > 0).double()


def deep(**options):
    """Return what each level of a deep supervision got of these options."""
    loss = Seen()
    DeepSupervision(loss=loss)(levels(), masks(), **options)
    return loss.calls


@pytest.mark.parametrize("shape", [(2, 3), (2, 1), (2,)])
def test_weights_and_numbers_are_resized_by_nearest_exact(shape):
    """As the target, for all numbers of channels and all types."""
    weight = random(*shape, *SIZES[0]).abs()
    regions = (weight * 5).to(torch.uint8)
    for call, size in zip(deep(weight=weight, regions=regions), SIZES, strict=True):
        rows, columns = (torch.arange(n) * 2 ** SIZES.index(size) + 2 ** SIZES.index(size) // 2 for n in size)
        assert torch.equal(call["weight"], weight[..., rows, :][..., columns])
        assert torch.equal(call["regions"], regions[..., rows, :][..., columns])


def test_a_skeleton_keeps_its_lines():
    """Each pixel has the maximum of those that it covers, where nearest-exact would lose a thin line."""
    skeleton = torch.zeros(2, 3, *SIZES[0])
    skeleton[:, 1, 4, :] = 1
    for call, size in zip(deep(skeleton=skeleton), SIZES, strict=True):
        expected = F.adaptive_max_pool2d(skeleton, size)
        assert torch.equal(call["skeleton"], expected)
        assert expected.sum() == 2 * size[1]
    (*_, coarse) = deep(skeleton=skeleton.bool())
    assert coarse["skeleton"].dtype == torch.bool
    assert coarse["skeleton"].sum() == 6


@pytest.mark.parametrize("size", [(5, 7), (16, 4), (8, 12), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.uint8, torch.bool])
def test_the_maximum_is_torchs(size, dtype):
    """In all sizes and types, also where a level is finer; one that fits is not copied."""
    mask = (random(2, 3, *SIZES[0]).abs() * 100).to(dtype)
    expected = F.adaptive_max_pool2d(mask.double(), size).to(dtype)
    level = torch.zeros(2, 3, *size)
    assert torch.equal(maximum(mask, level, name="skeleton"), expected)
    assert torch.equal(maximum(mask[:, 0], level[:, :1], name="skeleton"), expected[:, 0])
    if size == SIZES[0]:
        assert maximum(mask, level, name="skeleton") is mask


def test_class_indices_are_no_mask():
    """Their maximum would be the class of the highest number; the advice, masks, works."""
    index = torch.randint(0, 3, (2, *SIZES[0]), generator=torch.Generator().manual_seed(1))
    with pytest.raises(
        InputError, match=r"skeleton has shape \(2, 8, 12\) for 3 classes, and class indices have no max"
    ):
        deep(skeleton=index)
    assert len(deep(skeleton=F.one_hot(index, 3).movedim(-1, 1))) == 3


def test_distances_need_one_map_per_level():
    """They are in pixels of their level. The advice, a list, works; so does one map for levels of one size."""
    fine, target = [random(2, 3, 8, 12)], masks()
    with pytest.raises(InputError, match="distance is in pixels of one size, and the levels have several: give a list"):
        deep(distance=random(2, 3, *SIZES[0]))
    maps = [random(2, 3, *size) for size in SIZES]
    assert [call["distance"] is each for call, each in zip(deep(distance=maps), maps, strict=True)] == [True] * 3
    loss = Seen()
    DeepSupervision(loss=loss, weights="same")(fine * 2, target, distance=maps[0])
    assert all(call["distance"] is maps[0] for call in loss.calls)


def test_lists_of_one_map_per_level():
    """Of targets and of every option with a value for each pixel."""
    weights = [random(2, 1, *size) for size in SIZES]
    targets = [resized(masks(), level) for level in levels()]
    loss = Seen()
    value = DeepSupervision(loss=loss)(levels(), targets, weight=weights)
    assert all(call["weight"] is each for call, each in zip(loss.calls, weights, strict=True))
    each = [Seen()(x, t, weight=w) for x, t, w in zip(levels(), targets, weights, strict=True)]
    assert value.item() == pytest.approx((each[0] + each[1] / 2 + each[2] / 4).item(), rel=1e-12)
    with pytest.raises(ShapeError, match="weight has 2 maps for 3 levels of input; give one per level"):
        deep(weight=weights[:2])
    with pytest.raises(ShapeError, match="target has 1 maps for 3 levels of input"):
        DeepSupervision(loss=Seen())(levels(), targets[:1])


def test_maps_of_all_levels_for_the_finest_alone():
    """As where a network gives one output in evaluation, and the loader gives the targets of training."""
    targets = [resized(masks(), level) for level in levels()]
    loss, finest = DeepSupervision(loss=Seen()), levels()[0]
    message = r"target has 3 maps, but input is one level, the finest: give its map alone, target\[0\], or"
    for input in (finest, [finest]):
        with pytest.raises(ShapeError, match=message):
            loss(input, targets)
    assert loss(finest, targets[0]).item() == loss(finest, targets[:1]).item()


def test_what_is_no_map():
    with pytest.raises(DTypeError, match=r"weight must be a tensor, got int; use torch.as_tensor\(weight\)"):
        deep(weight=1)
    with pytest.raises(
        ShapeError, match=r"so weight must be \(N, \*\) or \(N, C, \*\) with 2 spatial dimensions, got \(3,"
    ):
        deep(weight=torch.zeros(3, 4, 5, 6, 7))


def test_boundary_with_maps_of_each_level():
    """Computed before, as in a data set: the value is that of a loss that computes them."""
    pytest.importorskip("scipy")
    loss, target = DeepSupervision(loss=Boundary(task="multilabel")), masks()
    maps = [signed_distance(resized(target, level)) for level in levels()]
    assert loss(levels(), target, distance=maps).item() == loss(levels(), target).item()


def test_maps_reach_the_parts_of_a_sum():
    """Inside a deep supervision, by the names that each part has."""
    inner = {"name": "weighted_sum", "params": {"terms": ["dice", "boundary"]}}
    loss = build({"name": "deep_supervision", "params": {"loss": inner}})
    x, target = [level[:, :1] for level in levels()], masks()[:, :1]
    maps = [torch.ones_like(level) for level in x]
    with on_tiles():
        output = loss.evaluate(x, target, distance=maps)
    assert output.components["1.weighted_sum.boundary"].item() == pytest.approx(x[1].sigmoid().mean().item(), rel=1e-6)


def test_weights_are_sampled_at_the_points():
    """Linearly, as logits and target; one map for all channels, too."""
    x, target, weight = random(2, 3, 8, 12), masks(), random(2, 3, 8, 12).abs() + 1
    for given in (weight, weight[:, :1], weight[:, 0]):
        loss = Seen()
        sampler = PointSampled(loss=loss, points=50, important=0)
        torch.manual_seed(3)
        sampler(x, target, weight=given)
        torch.manual_seed(3)
        places = sampler.places(x)
        whole = given if given.ndim == 4 else given.unsqueeze(1)
        expected = F.grid_sample(
            whole.expand_as(x).reshape(6, 1, 8, 12),
            (2 * places - 1).reshape(6, 50, 1, 2),
            padding_mode="border",
            align_corners=False,
        ).reshape(2, 3, 50)
        torch.testing.assert_close(loss.calls[0]["weight"], expected, rtol=1e-12, atol=0)


def test_a_weight_of_zero_ignores_a_pixel():
    """Points that touch it have the weight 0, also under NaN; they are chosen only if there are too few others."""
    x, target, weight = random(2, 3, 8, 12), masks(), torch.ones(2, 1, 8, 12, dtype=torch.float64)
    weight[..., :6] = 0
    x[..., :6] = torch.nan
    x.requires_grad_()
    loss = Seen()
    value = PointSampled(loss=loss, points=10, important=0.8, oversampling=20)(x, target, weight=weight)
    value.backward()
    assert value.isfinite()
    assert x.grad.isfinite().all()
    assert not x.grad[..., :6].any()
    assert set(loss.calls[0]["weight"].unique().tolist()) == {0.0, 1.0}
    assert (loss.calls[0]["weight"] > 0).sum(2).min() >= 8


def test_other_maps_at_the_points():
    """Masks and distances are sampled, and numbers of objects are refused: nothing lies between two numbers."""
    x, target, skeleton = random(2, 3, 8, 12), masks(), masks()
    loss = Seen()
    PointSampled(loss=loss, points=20)(x, target, skeleton=skeleton, distance=x * 0 + 7)
    assert loss.calls[0]["skeleton"].shape == (2, 3, 20)
    assert 0 <= loss.calls[0]["skeleton"].min() <= loss.calls[0]["skeleton"].max() <= 1
    torch.testing.assert_close(loss.calls[0]["distance"], torch.full((2, 3, 20), 7.0, dtype=torch.float64))
    with pytest.raises(InputError, match="point_sampled cannot sample regions=, whose numbers have nothing between"):
        PointSampled(loss=loss, points=20)(x, target, regions=torch.zeros(2, 3, 8, 12, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"so weight must have that shape, one channel or none, got \(2, 2, 8, 12\)"):
        PointSampled(loss=loss, points=20)(x, target, weight=torch.zeros(2, 2, 8, 12))
    with pytest.raises(DTypeError, match=r"weight must be a tensor, got float; use torch.as_tensor\(weight\)"):
        PointSampled(loss=loss, points=20)(x, target, weight=1.0)
    with pytest.raises(DTypeError, match=r"weight must be floating or bool, got torch.int64; use weight.float\(\)"):
        PointSampled(loss=loss, points=20)(x, target, weight=torch.ones(2, 1, 8, 12, dtype=torch.int64))


def test_predictions_of_one_mask_at_points():
    """Each has its own points, so the mask is repeated for each; the advice gives the loss of both."""
    x, mask = random(2, 3, 8, 12), masks()[:, :1]
    with pytest.raises(InvalidConfigError, match=r"use task='multilabel', and give target.expand_as\(input\)"):
        build({"name": "point_sampled", "params": {"loss": {"name": "dice", "params": {"task": "shared"}}}})
    loss = build({"name": "point_sampled", "params": {"loss": {"name": "dice", "params": {"task": "multilabel"}}}})
    assert loss(x, mask.expand_as(x)).isfinite()


@pytest.mark.parametrize("name", ["cldice", "hausdorff_er", "boundary_dou"])
def test_points_have_no_neighbours(name):
    """A loss of edges or lines would compare points that happen to be next to each other in a row."""
    with pytest.raises(InvalidConfigError, match="points have no neighbours; put it beside point_sampled"):
        build({"name": "point_sampled", "params": {"loss": {"name": "weighted_sum", "params": {"terms": [name]}}}})


@pytest.mark.parametrize("name", ["boundary", "hausdorff_dt"])
def test_points_need_a_map_of_distances(name):
    """Without one, distances would be those along a row of points; with it they are sampled."""
    x, target = random(2, 3, 8, 12), masks()
    loss = build({"name": "point_sampled", "params": {"loss": {"name": name, "params": {"task": "multilabel"}}}})
    with pytest.raises(InputError, match=r"point_sampled needs distance=, .* distance=signed_distance\(target\)"):
        loss(x, target)
    assert loss(x, target, distance=signed_distance(target)).isfinite()
