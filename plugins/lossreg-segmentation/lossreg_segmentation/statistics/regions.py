"""The pixels of an image packed by region into tiles of one region, for sums of each region by any implementation.

A tile is an example of its own, so that one pass over the tiles gives the sums of each, and the sums of a region are
those of its tiles added up. The last tile of a region is filled up with positions that are ignored.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lossreg.authoring import debugging
from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg_segmentation.statistics.checks import can_represent, check_layout, counting
from lossreg_segmentation.statistics.plain import has_values

TILE = 256  # positions
_MARK = -32768  # of positions without a pixel: a number that no target contains, and that half precision has
_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Packing(Protocol):
    """The pixels of B images in M tiles of one region. `owner` (M,) has b R + r of each tile, and B R for none."""

    @property
    def owner(self) -> Tensor:
        """Return the owners."""

    def pack(self, x: Tensor, fill: float) -> Tensor:
        """Return the tiles (M, C, T) of pixels (B, C, L), differentiable."""


class Tiles(NamedTuple):
    """A packing by torch: `pixel` (B, N T) has the pixel at each position of the tiles, and L where there is none."""

    pixel: Tensor
    owner: Tensor

    def pack(self, x: Tensor, fill: float) -> Tensor:
        """Return the tiles (M, C, T) of pixels (B, C, L), differentiable."""
        batch, channels, pixels = x.shape
        index = self.pixel.unsqueeze(1).expand(batch, channels, self.pixel.shape[1])
        tiles = F.pad(x, (0, 1), value=fill).gather(2, index)
        size = tile_size(pixels)
        number = index.shape[2] // size
        return tiles.view(batch, channels, number, size).transpose(1, 2).reshape(batch * number, channels, size)


def tiles_of(regions: Tensor, count: int) -> Tiles:
    """Return the packing of regions (B, L), by a sort. Its shape does not depend on the values of the map.

    Raises:
        InputError: a region of number `count` or more, which is found on a CPU and under lossreg.debug_checks().
    """
    if torch.compiler.is_compiling() and not regions.is_cuda:
        return Tiles(*torch.ops.lossreg.region_tiles(regions, count))
    if not torch.compiler.is_compiling() and (regions.device.type == "cpu" or debugging()):
        check_numbers(regions, count)
    return _tiles_of(regions, count)


def _tiles_of(regions: Tensor, count: int) -> Tiles:
    batch, pixels = regions.shape
    size, number = tile_size(pixels), tile_number(pixels, count)
    regions = regions.long()
    key = torch.where((regions >= 0) & (regions < count), regions, count)
    volumes = torch.zeros(batch, count + 1, dtype=torch.long, device=key.device)
    volumes = volumes.scatter_add(1, key, torch.ones_like(key))
    filled = (volumes[:, :count] + size - 1) // size  # tiles of each region
    ends = filled.cumsum(1)
    # The pixels in the order of their regions, each at the place after the one before it in its region.
    ordered, pixel = key.sort(stable=True, dim=1)
    first = F.pad((ends - filled) * size, (0, 1), value=number * size)  # those in no region are placed last
    place = first.gather(1, ordered) - (volumes.cumsum(1) - volumes).gather(1, ordered)
    place = place + torch.arange(pixels, device=key.device)
    index = torch.full((batch, number * size + pixels), pixels, device=key.device)
    index = index.scatter(1, place, pixel)[:, : number * size].contiguous()
    tile = torch.arange(number, device=key.device).expand(batch, number).contiguous()
    region = torch.searchsorted(ends, tile, right=True)
    image = torch.arange(batch, device=key.device).unsqueeze(1)
    return Tiles(index, torch.where(region < count, image * count + region, batch * count).flatten())


def tile_size(pixels: int) -> int:
    """Return the number of positions of a tile."""
    return max(1, min(TILE, pixels))


def tile_number(pixels: int, count: int) -> int:
    """Return the largest number of tiles that an image may need."""
    return pixels // tile_size(pixels) + min(count, pixels)


def added(sums: Tensor, owner: Tensor, batch: int, count: int) -> Tensor:
    """Add the sums of tiles, (K, M, C), for each region: (K, B, R, C). In float64, in an order that is always the same.

    On a device a matrix product, since its index_add has no order.
    """
    fields, _, channels = sums.shape
    wide = sums if sums.device.type == "mps" else sums.double()
    if sums.is_cuda:
        per_image = owner.view(batch, -1, 1) - count * torch.arange(batch, device=owner.device).view(-1, 1, 1)
        within = (per_image == torch.arange(count, device=owner.device)).to(wide.dtype)  # (B, N, R)
        found = within.transpose(1, 2) @ wide.view(fields, batch, -1, channels)
    else:
        place = owner.view(1, -1, 1).expand_as(wide)
        # Not index_add, which takes nine times as long.
        found = wide.new_zeros(fields, batch * count + 1, channels).scatter_add(1, place, wide)[:, :-1]
    return found.reshape(fields, batch, count, channels).to(sums.dtype)


def padding_mark(target: Tensor, ignore_index: int | None, classes: int) -> tuple[Tensor, int]:
    """Return the target in a type that has a value for positions to ignore, and this value.

    It is ignore_index if there is one. `classes` is 0 for masks.
    """
    if target.dtype == torch.bool:
        target = target.to(torch.uint8)
    if ignore_index is not None and can_represent(target.dtype, ignore_index):
        return target, ignore_index
    if target.dtype == torch.uint8 and classes > 255:
        target = target.long()
    if target.dtype == torch.uint8:
        return target, 255
    if target.dtype == torch.int8:
        return target, -128
    return target, _MARK


def contains(target: Tensor, mark: int) -> bool:
    """Return True if a target on a CPU contains a mark, which is an end of the range of its values."""
    if target.numel() == 0 or target.device.type != "cpu" or not has_values(target):
        return False
    return bool(target.max() == mark if mark > 0 else target.min() == mark)


def checked_regions(regions: Tensor | None, input: Tensor) -> Tensor:
    """Check the type and shape of a map of regions for logits (B, C, *), and return it as (B, 1 or C, L).

    Raises:
        ShapeError, DTypeError, InputError: no map, or one that does not fit.
    """
    if not isinstance(regions, Tensor):
        raise InputError(
            "per_region needs the map of regions: loss(input, target, regions=labels), an integer for each pixel, got"
            f" {'none' if regions is None else type(regions).__name__}"
        )
    check_layout("regions", regions)
    regions = counting(regions)
    if regions.dtype not in _INTEGERS:
        raise DTypeError(
            f"regions must be integers, the number of each pixel's region, got {regions.dtype}; use regions.long()"
        )
    batch, channels, *size = input.shape
    fitting = [(batch, 1, *size), (batch, *size), (batch, channels, *size)]
    if all(regions.shape != shape for shape in fitting):
        shapes = ", ".join(map(str, dict.fromkeys(fitting)))
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, so regions must have one of {shapes}, got"
            f" {tuple(regions.shape)}; nothing is broadcast"
        )
    if regions.device != input.device:
        raise InputError(f"input is on {input.device} and regions on {regions.device}; move one with .to()")
    return regions.reshape(batch, 1 if regions.ndim < input.ndim else regions.shape[1], prod(size))


def check_numbers(regions: Tensor, count: int) -> None:
    """Check that the numbers of regions are below `count`. Reading them synchronises with a device."""
    if regions.numel() == 0 or not has_values(regions):
        return
    refuse_number(int(regions.max()), count)


def refuse_number(most: int, count: int) -> None:
    """Raise InputError if the largest number of a region is not below `count`."""
    if most >= count:
        raise InputError(
            f"regions has the number {most}, but max_regions allows numbers up to {count - 1}; raise max_regions by at"
            f" least {most - count + 1}, or number the regions of each image from 0 without gaps"
        )


@torch.library.custom_op(
    "lossreg::region_tiles", mutates_args=(), schema="(Tensor regions, int count) -> (Tensor, Tensor)"
)
def _tiles_op(regions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    check_numbers(regions, count)
    tiles = _tiles_of(regions, count)
    return tiles.pixel, tiles.owner


@_tiles_op.register_fake
def _(regions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    batch, pixels = regions.shape
    number = tile_number(pixels, count)
    like = regions.new_empty
    return like((batch, number * tile_size(pixels)), dtype=torch.long), like(batch * number, dtype=torch.long)
