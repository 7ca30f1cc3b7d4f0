"""Pixels packed by region on a CPU, run by run: neighbours of one region are copied together."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossreg_segmentation.statistics.numba_cache import kept_on_disk
from lossreg_segmentation.statistics.numba_math import EXACT
from lossreg_segmentation.statistics.regions import refuse_number, tile_size
from lossreg_segmentation.statistics.threads import in_threads

Array = npt.NDArray[Any]

SHARES = 8  # of the runs of an image, for threads
STEP = 16  # labels that are compared at once
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # which move values of all types of a size


class Runs:
    """A packing of regions (B, L). A run is neighbouring pixels of one region: its first pixel, place and length.

    `owner` (M,) is the image and region of each tile; InputError for a region that is not below count.
    """

    def __init__(self, regions: Tensor, count: int) -> None:
        labels = regions.detach().contiguous()
        found: Array = (labels.view(torch.uint8) if labels.dtype == torch.bool else labels).numpy()
        batch, self.pixels = found.shape
        self.size = size = tile_size(self.pixels)
        # Reserved for one run per pixel; the system provides the memory that is written.
        self.runs = np.empty((3, batch, self.pixels), np.int32)
        self.lengths = np.zeros(batch, np.int64)
        volumes = np.zeros((batch, count), np.int64)
        find = _finding()
        most = in_threads(batch, batch, lambda a, b: find(found, size, self.runs, self.lengths, volumes, a, b))
        refuse_number(int(max(most)), count)
        tiles = -(-volumes // size)
        ends = tiles.ravel().cumsum()
        self.number = int(ends[-1])
        self.first = np.concatenate([[0], ends[count - 1 :: count]])  # tile of each image
        self.complete = int(volumes.sum()) == found.size  # every pixel is in a region
        self.filled = np.full(self.number, size, np.int64)  # positions of each tile that have a pixel
        present = tiles.ravel() > 0
        self.filled[ends[present] - 1] = (volumes - (tiles - 1) * size).ravel()[present]
        self.owner = torch.from_numpy(np.repeat(np.arange(batch * count), tiles.ravel()))

    def pack(self, x: Tensor, fill: float) -> Tensor:
        """Return the tiles (M, C, T) of pixels (B, C, L), differentiable."""
        tiles: Tensor = _Pack.apply(x, self, fill)  # type: ignore[no-untyped-call]
        return tiles

    def packed(self, x: Tensor, fill: float) -> Tensor:
        """Return the tiles of pixels."""
        tiles = _empty(x, (self.number, x.shape[1], self.size))
        fill_up = _filling()
        bits = torch.tensor([fill], dtype=x.dtype).view(_BITS[x.element_size()]).numpy()[0]
        fill_up(_array(tiles), self.filled, bits)
        self._move(_moving(packing=True), x.contiguous(), tiles)
        return tiles

    def unpacked(self, tiles: Tensor) -> Tensor:
        """Return pixels (B, C, L) of tiles, 0 for those in no region."""
        x = _empty(tiles, (len(self.lengths), tiles.shape[1], self.pixels))
        if not self.complete:
            x.zero_()
        self._move(_moving(packing=False), x, tiles.contiguous())
        return x

    def _move(self, move: Any, x: Tensor, tiles: Tensor) -> None:
        pixels, packed, batch = _array(x).ravel(), _array(tiles).ravel(), len(self.lengths)
        numbers = x.shape[1], self.size, SHARES
        in_threads(
            batch * SHARES,
            batch * SHARES,
            lambda a, b: move(pixels, packed, self.runs, self.lengths, self.first, *numbers, a, b),
        )


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, runs: Runs, fill: float) -> Tensor:
        ctx.runs = runs
        return runs.packed(x.detach(), fill)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None, None]:
        return _Unpack.apply(grads, ctx.runs), None, None  # type: ignore[no-untyped-call]


class _Unpack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tiles: Tensor, runs: Runs) -> Tensor:
        ctx.runs = runs
        return runs.unpacked(tiles.detach())

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None]:
        return _Pack.apply(grads, ctx.runs, 0.0), None  # type: ignore[no-untyped-call]


def _empty(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a new tensor; NumPy requests huge pages for it, whose faults take less time."""
    bits = _BITS[like.element_size()]
    return torch.from_numpy(np.empty(shape, torch.empty(0, dtype=bits).numpy().dtype)).view(like.dtype)


def _array(x: Tensor) -> Array:
    """Return a tensor's bits."""
    bits: Array = x.view(_BITS[x.element_size()]).numpy()
    return bits


@cache
def _finding() -> Any:
    def find(labels, size, runs, lengths, volumes, first, last):  # type: ignore[no-untyped-def]
        """Write the runs of images first..last, and the pixels of each region; return the largest label."""
        pixels, count = labels.shape[1], volumes.shape[1]
        places = np.empty(count, np.int64)
        most = np.int64(-1)
        for image in range(first, last):
            row, volume, number, start = labels[image], volumes[image], 0, 0
            starts, at, along = runs[0, image], runs[1, image], runs[2, image]
            while start < pixels:
                label = row[start]
                end = start + 1
                same = True
                while same and end + STEP <= pixels:
                    for i in range(STEP):
                        same &= row[end + i] == label
                    if same:
                        end += STEP
                while end < pixels and row[end] == label:
                    end += 1
                most = max(most, np.int64(label))
                if 0 <= label < count:
                    starts[number], at[number], along[number] = start, volume[label], end - start
                    volume[label] += end - start
                    number += 1
                start = end
            lengths[image] = number
            tiles = 0
            for region in range(count):
                places[region] = tiles * size
                tiles += (volume[region] + size - 1) // size
            for run in range(number):
                at[run] += places[row[starts[run]]]
        return most

    return kept_on_disk(find, EXACT)


@cache
def _moving(*, packing: bool) -> Any:
    def move(x, tiles, runs, lengths, first_tile, channels, size, shares, first, last):  # type: ignore[no-untyped-def]
        """Copy shares first..last of the runs of all images between pixels and tiles, both flat."""
        pixels = runs.shape[2]
        for task in range(first, last):
            image, share = task // shares, task % shares
            starts, places, along = runs[0, image], runs[1, image], runs[2, image]
            for run in range(lengths[image] * share // shares, lengths[image] * (share + 1) // shares):
                start, place, left = np.int64(starts[run]), np.int64(places[run]), np.int64(along[run])
                while left > 0:
                    tile, at = first_tile[image] + place // size, place % size
                    length = min(left, size - at)
                    for c in range(channels):
                        # Unsigned, so that no index counts from the end, and the loop is a copy of vectors.
                        outside = np.uint64((image * channels + c) * pixels + start)
                        inside = np.uint64((tile * channels + c) * size + at)
                        for i in range(np.uint64(length)):
                            if packing:
                                tiles[inside + i] = x[outside + i]
                            else:
                                x[outside + i] = tiles[inside + i]
                    start, place, left = start + length, place + length, left - length

    return kept_on_disk(move, EXACT)


@cache
def _filling() -> Any:
    def fill_up(tiles, filled, value):  # type: ignore[no-untyped-def]
        """Write a value to the positions of tiles that have no pixel."""
        for tile in range(len(filled)):
            tiles[tile, :, filled[tile] :] = value

    return kept_on_disk(fill_up, EXACT)
