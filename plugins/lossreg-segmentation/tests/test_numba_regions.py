"""Pixels packed by runs: the same tiles as those of a sort, and the same losses as those of plain torch."""

from __future__ import annotations

import re

import pytest
import torch

from lossreg.errors import InputError
from lossreg_segmentation.statistics import implementation
from lossreg_segmentation.statistics.regions import tiles_of

from .cases import value_and_gradient
from .test_per_region import DICE, compared, example, per_region

numba_regions = pytest.importorskip("lossreg_segmentation.statistics.numba_regions", reason="Numba is not installed")
pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("compiled")]


def maps():
    """Return maps of regions (2, 700): runs that end with a tile, in it, noise, one region, and none."""
    generator = torch.Generator().manual_seed(0)
    pixel = torch.arange(700)
    yield "runs of 256", (pixel // 256).expand(2, 700)
    yield "runs of 37", torch.stack([pixel // 37 % 3, pixel // 37 % 4 - 1])
    yield "noise", torch.randint(-2, 4, (2, 700), generator=generator)
    yield "one", torch.zeros(2, 700, dtype=torch.long)
    yield "none in one image", torch.stack([torch.full((700,), -1), pixel % 2])
    yield "none", torch.full((2, 700), -1)


@pytest.mark.parametrize("regions", [each for _, each in maps()], ids=[name for name, _ in maps()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.bool])
def test_tiles_are_those_of_a_sort(regions, dtype):
    """Pixels, the positions without one, and the owner of each tile; unpacked, each pixel is back in its place."""
    x = torch.randint(0, 2, (2, 3, 700), generator=torch.Generator().manual_seed(1)).to(dtype)
    runs, tiles = numba_regions.Runs(regions.int(), 4), tiles_of(regions, 4)
    used = tiles.owner < 8
    assert torch.equal(runs.owner, tiles.owner[used])
    packed = runs.packed(x, 1)
    assert torch.equal(packed, tiles.pack(x, 1)[used])
    kept = (regions >= 0).unsqueeze(1)
    assert torch.equal(runs.unpacked(packed), torch.where(kept, x, torch.zeros_like(x)))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_labels_of_every_type(dtype, threads):
    """The type of the map and the number of threads change nothing."""
    regions = (torch.arange(1400).view(2, 700) // 50 % 2).to(dtype)
    x, before = torch.randn(2, 1, 700), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = numba_regions.Runs(regions, 2).packed(x, 0.0)
    finally:
        torch.set_num_threads(before)
    tiles = tiles_of(regions.long(), 2)
    assert torch.equal(found, tiles.pack(x, 0.0)[tiles.owner < 4])


def test_a_label_that_is_too_large():
    """It is found while the runs are, in any image."""
    regions = torch.zeros(2, 700, dtype=torch.int32)
    regions[1, 699] = 4
    with pytest.raises(InputError, match=re.escape("regions has the number 4, but max_regions allows numbers up to 3")):
        numba_regions.Runs(regions, 4)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("background", ["none", "shared"])
def test_losses_are_those_of_a_loop(channels, background):
    """Value and gradient in float64 are those of one call for each region."""
    import lossreg

    x, t, regions = example(channels)
    loss = per_region({"name": "dice", "params": {"smooth": 0.5, "task": "multilabel"}}, background=background)
    compared(loss, lossreg.build(DICE), x, t, regions, background=background == "shared")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_narrow_logits_and_classes(task, dtype):
    """Losses equal those of plain torch to 1e-6, a map for each class and ignored pixels included."""
    x, t, regions = example(3, dtype=dtype)
    target = t[:, 0] if task == "multiclass" else t
    target = target.masked_fill(torch.rand(target.shape, generator=torch.Generator().manual_seed(5)) < 0.2, 9)
    terms = [{"name": name, "params": {"task": task, "ignore_index": 9}} for name in ("dice", "focal", "cross_entropy")]
    loss = per_region({"name": "weighted_sum", "params": {"terms": terms}}, background="shared")
    for given in (regions, regions.expand(-1, 3, -1, -1)):
        found = value_and_gradient(lambda x, t, given=given: loss(x, t, regions=given), x, target)
        with implementation("reference"):
            expected = value_and_gradient(lambda x, t, given=given: loss(x, t, regions=given), x, target)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)


def test_a_second_derivative_is_refused_by_name():
    """The message is that of every loss: plain torch has one."""
    x, t, regions = example()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(per_region(DICE)(x, t, regions=regions), x, create_graph=True)
    with pytest.raises(Exception, match="implementation 'numba' has no second derivative"):
        gradient.sum().backward()
