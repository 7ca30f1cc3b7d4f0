"""Tiles: parts of rows that stay in cache, with logits and target in the dtype of the computation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vecdot

from lossreg_segmentation.statistics.checks import check_values, counting, is_ignored
from lossreg_segmentation.statistics.request import Request, is_index, sums_dtype
from lossreg_segmentation.statistics.weights import check_weight_values

# Elements. The buffers of a tile fit a core's cache. Torch would split a step over more elements among its threads,
# unless it already runs in one of them. The threads of several callers would then wait for each other after every step,
# for milliseconds if other processes use the cores, and the digits of a sum would depend on their number.
TILE = 32768
# Elements that a product of matrices adds up one after the other; over more, equal values would lose their last digits.
SHORT = 512

Rows = slice | Tensor  # adjacent rows as a slice, which gives a view where indices give a copy


class Place(NamedTuple):
    """The place of a tile."""

    rows: Rows
    columns: slice


def rows_of(x: Tensor, request: Request) -> Tensor:
    """Return a view of (B, C, L) as independent parts: (B, C, L) for classes, (B C, 1, L) for masks."""
    return x if request.activation == "softmax" else x.flatten(0, 1).unsqueeze(1)


def tiles(rows: list[int], width: int, length: int) -> list[Place]:
    """Cut ascending rows of width x length elements into tiles: parts of one row, or several rows that are small."""
    columns = max(1, TILE // width)
    step = max(1, columns // max(1, length))
    groups = [_together(rows[first : first + step]) for first in range(0, len(rows), step)]
    return [Place(group, slice(start, start + columns)) for group in groups for start in range(0, length, columns)]


def _together(rows: list[int]) -> Rows:
    first, last = rows[0], rows[-1]
    return slice(first, last + 1) if last - first == len(rows) - 1 else torch.tensor(rows, device="cpu")


class Scratch:
    """Buffers that one thread uses for all its tiles, because fresh memory costs as much as a step or two."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._blocks: dict[tuple[int, int, int, str], tuple[Tensor, ...]] = {}

    def block(self, count: int, t: Tensor, purpose: str = "") -> tuple[Tensor, ...]:
        """Return a buffer (R, count, N) for a target (R, 1, N), and its parts (R, 1, N). They contain anything."""
        key = (len(t), count, t.shape[2], purpose)
        if key not in self._blocks:
            whole = torch.empty(key[:3], dtype=self.dtype, device="cpu")
            self._blocks[key] = whole, *whole.split(1, 1)
        return self._blocks[key]


class Tile(NamedTuple):
    """Logits and target of some rows and columns, (R, W, N), in the dtype of the computation."""

    x: Tensor  # 0 where ignored
    t: Tensor  # 0 where ignored; (R, 1, N) of ones for class indices
    valid: Tensor | None  # 1 where not ignored, (R, 1, N); None: nowhere ignored
    chosen: Tensor | None  # class indices (R, 1, N), any class where ignored
    soft: bool
    both: Tensor  # t and u of hard masks, (R, 2, N)
    weight: Tensor | None = None  # of each position, 0 where ignored, (R, 1, N); None: 1, or 0 where ignored

    @property
    def u(self) -> Tensor:
        """Return 1 - t, 0 where ignored."""
        return 1 - self.t if self.valid is None else self.valid - self.t

    @property
    def share(self) -> Tensor | None:
        """Return the factor of each position in sums; None: 1 everywhere."""
        return self.valid if self.weight is None else self.weight

    @property
    def mass(self) -> Tensor:
        """Return t times the weight."""
        return self.t if self.weight is None else self.t * self.weight

    @property
    def masses(self) -> Tensor:
        """Return t and u of hard masks times the weight, (R, 2, N)."""
        return self.both if self.weight is None else self.both * self.weight

    def weighed(self, values: Tensor) -> Tensor:
        """Return values, which are 0 where ignored, times the weight."""
        return values if self.weight is None else values * self.weight

    def pick(self, values: Tensor) -> Tensor:
        """Select the values of the target's class; return values of soft or one-hot classes unchanged."""
        return values if self.chosen is None else values.gather(1, self.chosen)

    def total(self, picked: Tensor) -> Tensor:
        """Add up the values that `pick` returned, (R, W)."""
        if self.chosen is None:
            return picked.sum(2)
        sums = torch.zeros(self.x.shape[:2], dtype=torch.float64, device=self.x.device)
        return sums.scatter_add_(1, self.chosen.squeeze(1), picked.squeeze(1).double())


class Reader:
    """Reads the tiles of logits, target and weights."""

    def __init__(self, x: Tensor, t: Tensor, w: Tensor | None, request: Request, check: bool) -> None:
        self.x, self.request, self.check = x, request, check
        self.dtype, self.index, self.classes = sums_dtype(x), is_index(x, t), x.shape[1]
        self.one = torch.ones((), dtype=self.dtype, device="cpu")
        self.logits, self.target = rows_of(x, request), t.unsqueeze(1) if self.index else rows_of(t, request)
        self.shared = len(self.logits) // max(1, len(self.target))  # one target for all masks of an example
        self.weights = None if w is None else rows_of(w, request)
        self.sharing = 1 if self.weights is None else len(self.logits) // max(1, len(self.weights))

    def read(self, place: Place, scratch: Scratch) -> Tile:
        """Read one tile; raise InputError for invalid values of target or weights if they are checked."""
        dtype = self.dtype
        logits = self.logits[place.rows, :, place.columns].to(dtype)
        target = counting(self.target[_shared(place.rows, self.shared), :, place.columns])
        weight = self._weight(place)
        counted, kept = self._counted(target, weight)
        valid = None
        if kept is not None:
            valid = _number(kept, dtype)
            # By bits: a product would keep NaN, and torch.where branches per position.
            bits = torch.int64 if dtype == torch.float64 else torch.int32
            logits = (logits.view(bits) & -_number(kept, bits)).view(dtype)
            weight = None if weight is None else weight * valid
        if self.check and counted.dtype != torch.bool:
            low, high = (value.item() for value in torch.aminmax(counted))
            if not (low >= 0 and high <= (self.classes - 1 if self.index else 1)):  # written so that NaN fails
                check_values(counted, self.classes, self.index, self.request.ignore_index, self.x)
        if self.index:
            ones = torch.ones_like(counted, dtype=dtype) if valid is None else valid
            return Tile(logits, ones, valid, counted.long(), False, ones, weight)
        soft = target.is_floating_point()
        if self.request.activation == "softmax" or soft:
            mask = _number(counted, dtype) if valid is None else _number(counted, dtype) * valid
            return Tile(logits, mask, valid, None, soft, mask, weight)
        both, mask, rest = scratch.block(2, logits[:, :1], "both")
        mask.copy_(counted.view(torch.uint8) if counted.dtype == torch.bool else counted)
        torch.sub(self.one if valid is None else valid, mask, out=rest)
        return Tile(logits, mask, valid, None, False, both, weight)

    def _counted(self, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the target, 0 where a position does not count, and True where it counts; None: everywhere."""
        if weight is None and self.request.ignore_index is None:
            return target, None
        kept = ~is_ignored(target, self.request.ignore_index)
        counted = target * kept
        if self.request.activation == "softmax":  # one ignored class ignores the pixel
            kept = kept.all(1, keepdim=True)
        if weight is not None:
            weighs = weight > 0
            kept, counted = kept & weighs, counted.masked_fill(~weighs, 0)  # a product would keep NaN
        return counted, kept

    def _weight(self, place: Place) -> Tensor | None:
        if self.weights is None:
            return None
        weight = self.weights[_shared(place.rows, self.sharing), :, place.columns]
        if self.check:
            check_weight_values(weight)
        return weight


def _shared(rows: Rows, masks: int) -> Rows:
    """Return the rows of a target of several masks."""
    if masks == 1:
        return rows
    if isinstance(rows, slice) and rows.stop - rows.start == 1:
        return slice(rows.start // masks, rows.start // masks + 1)
    return (torch.arange(rows.start, rows.stop, device="cpu") if isinstance(rows, slice) else rows) // masks


def _number(t: Tensor, dtype: torch.dtype) -> Tensor:
    return (t.view(torch.uint8) if t.dtype == torch.bool else t).to(dtype)  # bytes convert several times faster


def products(values: Tensor, weights: Tensor) -> Tensor:
    """Return the sums over the columns of each value times each weight, (R, values, weights)."""
    rows, _, length = values.shape
    if _exact_products() and length <= SHORT:
        return torch.bmm(values, weights.mT)
    if _exact_products() and rows == 1 and length % SHORT == 0:
        parts = (each[0].unflatten(1, (-1, SHORT)).transpose(0, 1) for each in (values, weights))
        return torch.bmm(next(parts), next(parts).mT).sum(0, keepdim=True)
    return torch.stack([vecdot(values, weight) for weight in weights.split(1, 1)], 2)


def combine(factors: Tensor, rows: Tensor, out: Tensor) -> None:
    """Write each row's combinations (R, K, N) of its two rows (R, 2, N) by factors (R, K, 2)."""
    if _exact_products():
        torch.bmm(factors, rows, out=out)
        return
    torch.mul(rows[:, :1], factors[:, :, :1], out=out)
    out.add_(rows[:, 1:] * factors[:, :, 1:])


def _exact_products() -> bool:
    """Return False if products of matrices have only the digits that the user allows for those of a model."""
    switch = getattr(torch.backends.mkldnn, "matmul", None)  # not in older versions of torch
    if switch is None:
        return torch.get_float32_matmul_precision() == "highest"
    return switch.fp32_precision in ("none", "ieee")


def sum_of(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return weighted sums over the columns, (R, W)."""
    return values.sum(2) if weight is None else vecdot(values, weight)


def overlap_slope(p: Tensor, tile: Tile) -> Tensor:
    """Return d/dp of the elements of the intersection."""
    t = tile.t
    return (p < t).to(p.dtype).add_(p == t, alpha=0.5) if tile.soft else t
