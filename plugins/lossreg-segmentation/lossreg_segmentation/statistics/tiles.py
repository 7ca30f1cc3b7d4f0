"""Tiles: parts of rows that stay in cache, with logits and target in the dtype of the computation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vecdot

from lossreg_segmentation.statistics.checks import check_values, counting, is_ignored
from lossreg_segmentation.statistics.request import Request, is_index, sums_dtype
from lossreg_segmentation.statistics.threads import in_torch_threads

# Elements. The interpreter's overhead per tile equals the time for half of this; larger tiles would not fit the caches.
TILE = 131072
# Torch splits a step over more elements among its threads, unless it already runs in one of them. The threads of
# several callers then wait for each other after every step, for milliseconds if other processes use the cores.
SERIAL = 32768

Place = tuple[Tensor, slice]  # the place of a tile: indices of rows, and columns


def rows_of(x: Tensor, request: Request) -> Tensor:
    """Return a view of (B, C, L) as independent parts: (B, C, L) for classes, (B C, 1, L) for masks."""
    return x if request.activation == "softmax" else x.flatten(0, 1).unsqueeze(1)


def span(rows: Tensor) -> slice | Tensor:
    """Return adjacent rows as a slice, because a slice gives a view and an index a copy."""
    neighbours = len(rows) == 1 or bool((rows.diff() == 1).all())
    return slice(int(rows[0]), int(rows[-1]) + 1) if neighbours else rows


def tiles(rows: Tensor, width: int, length: int) -> list[Place]:
    """Cut rows of width x length elements into tiles: a part of one row, or several rows if they are small."""
    columns = max(1, (TILE if in_torch_threads() else SERIAL) // width)
    groups = torch.split(rows, max(1, columns // max(1, length))) if len(rows) else ()
    return [(group, slice(start, start + columns)) for group in groups for start in range(0, length, columns)]


class Tile(NamedTuple):
    """Logits and target of some rows and columns, (R, W, N), in the dtype of the computation."""

    x: Tensor  # 0 where ignored
    t: Tensor  # 0 where ignored; (R, 1, N) of ones for class indices
    valid: Tensor | None  # 1 where not ignored, (R, 1, N); None: nowhere ignored
    chosen: Tensor | None  # class indices (R, 1, N), any class where ignored
    soft: bool

    @property
    def u(self) -> Tensor:
        """Return 1 - t, 0 where ignored."""
        return 1 - self.t if self.valid is None else self.valid - self.t

    def pick(self, values: Tensor) -> Tensor:
        """Select the values of the target's class; return values of soft or one-hot classes unchanged."""
        return values if self.chosen is None else values.gather(1, self.chosen)

    def total(self, picked: Tensor) -> Tensor:
        """Add up the values that `pick` returned, (R, W)."""
        if self.chosen is None:
            return picked.sum(2)
        sums = torch.zeros(self.x.shape[:2], dtype=torch.float64, device=self.x.device)
        return sums.scatter_add_(1, self.chosen.squeeze(1), picked.squeeze(1).double())


def read_tile(x: Tensor, t: Tensor, rows: Tensor, columns: slice, request: Request, check: bool) -> Tile:
    """Read the tile at these rows and columns; with `check`, raise InputError for invalid target values."""
    dtype, index, classes = sums_dtype(x), is_index(x, t), x.shape[1]
    logits = rows_of(x, request)[span(rows), :, columns].to(dtype)
    target = t.unsqueeze(1) if index else rows_of(t, request)
    shared = len(rows_of(x, request)) // len(target)  # one target for all masks of an example
    target = counting(target[span(rows // shared), :, columns])
    counted, valid = target, None
    if request.ignore_index is not None:
        kept = ~is_ignored(target, request.ignore_index)
        counted = target * kept
        if request.activation == "softmax":  # one ignored class ignores the pixel
            kept = kept.all(1, keepdim=True)
        # By bits: a product would keep NaN, and torch.where branches per position.
        bits = torch.int64 if dtype == torch.float64 else torch.int32
        logits, valid = (logits.view(bits) & -_number(kept, bits)).view(dtype), _number(kept, dtype)
    if check and counted.dtype != torch.bool:
        low, high = torch.aminmax(counted)
        if not (low >= 0 and high <= (classes - 1 if index else 1)):  # written so that NaN fails
            check_values(target, classes, index, request.ignore_index, x)
    if index:
        ones = torch.ones_like(counted, dtype=dtype) if valid is None else valid
        return Tile(logits, ones, valid, counted.long(), False)
    mask = _number(counted, dtype) if valid is None else _number(counted, dtype) * valid
    return Tile(logits, mask, valid, None, target.is_floating_point())


def _number(t: Tensor, dtype: torch.dtype) -> Tensor:
    return (t.view(torch.uint8) if t.dtype == torch.bool else t).to(dtype)  # bytes convert several times faster


def sum_of(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return weighted sums over the columns, (R, W)."""
    return values.sum(2) if weight is None else vecdot(values, weight)


def overlap_slope(p: Tensor, tile: Tile) -> Tensor:
    """Return d/dp of the elements of the intersection."""
    t = tile.t
    return (p < t).to(p.dtype).add_(p == t, alpha=0.5) if tile.soft else t
