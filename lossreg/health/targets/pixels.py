"""Sums over the pixels of one mask, taken part by part: a large one needs little more memory than itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lossreg.health.targets.interpolation import classes_before
from lossreg.health.targets.thin import thin_pixels

if TYPE_CHECKING:
    import numpy.typing as npt

PART: Final = 1 << 20  # pixels that are looked at together
MOST_COUNTED: Final = 1024  # values of a mask with a count of their own


@dataclass
class Pixels:
    """The sums so far, over the pixels that count.

    low, high: of the finite values. counts: pixels of each whole number. more: True if some values are not in `counts`.
    fraction: a value that is not whole. classes: see `classes_before`. thin: pixels of thin foreground, if measured.
    """

    total: int = 0
    foreground: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    counts: Counter[float] = field(default_factory=Counter)
    more: bool = False
    fraction: float | None = None
    nan: int = 0
    infinite: int = 0
    classes: tuple[float, ...] = ()
    thin: int = 0


def sum_pixels(values: npt.NDArray[Any], ignore_index: int | None, *, thin: bool) -> Pixels:
    """Return the sums over a mask of any size. One-hot planes (C, H, W) are read as class indices."""
    one_hot = _is_one_hot(values)
    sums = Pixels()
    for part in parts(values):
        part = _narrow(part.argmax(axis=0) if one_hot else part)
        _add(sums, part, ignore_index)
        if thin:
            sums.thin += thin_pixels((part > 0) & (part != ignore_index))
    return sums


def parts(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Yield views of an array that are about `PART` large, cut along its rows or columns."""
    import numpy as np

    sides = values.shape[-2:]
    axis = values.ndim - len(sides) + int(np.argmax(sides))
    yield from np.array_split(values, min(-(-values.size // PART), max(sides)), axis=axis)


def _is_one_hot(values: npt.NDArray[Any]) -> bool:
    if values.ndim != 3 or values.shape[0] < 2:
        return False
    for part in parts(values):
        ones = part == 1
        if not (ones | (part == 0)).all() or not (ones.sum(axis=0) == 1).all():
            return False
    return True


def _narrow(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return whole numbers of 0 to 255 as bytes, which are counted without sorting, and other values unchanged."""
    import numpy as np

    if values.dtype.kind == "b":
        return values.view(np.uint8)
    if values.dtype != np.uint8 and values.min() >= 0 and values.max() <= 255:  # False for NaN
        narrow = values.astype(np.uint8)
        if values.dtype.kind != "f" or (narrow == values).all():
            return narrow
    return values


def _add(sums: Pixels, part: npt.NDArray[Any], ignore_index: int | None) -> None:
    import numpy as np

    if part.dtype.kind == "f":
        sums.nan += int(np.isnan(part).sum())
        sums.infinite += int(np.isinf(part).sum())
        valid = part[np.isfinite(part)]
        if valid.size == part.size and part.max() > 1:  # up to 1 it may be a soft target
            _add_classes(sums, part, *np.unique(part, return_counts=True))
        valid = valid if ignore_index is None else valid[valid != ignore_index]
        _add_range(sums, valid, valid.size, int((valid > 0).sum()))
        whole = valid == np.floor(valid)
        if not whole.all():
            sums.fraction, sums.more = float(valid[~whole][0]), True
        _add_counts(sums, *np.unique(valid[whole], return_counts=True))
        return
    if part.dtype == np.uint8:
        counts = np.bincount(part.ravel(), minlength=256)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(part, return_counts=True)
    _add_classes(sums, part, found, counts)
    if ignore_index is not None:
        found, counts = found[found != ignore_index], counts[found != ignore_index]
    _add_range(sums, found, int(counts.sum()), int(counts[found > 0].sum()))
    _add_counts(sums, found, counts)


def _add_classes(sums: Pixels, part: npt.NDArray[Any], found: npt.NDArray[Any], counts: npt.NDArray[Any]) -> None:
    if not sums.classes:
        sums.classes = classes_before(part, found, counts)


def _add_range(sums: Pixels, values: npt.NDArray[Any], total: int, foreground: int) -> None:
    sums.total += total
    sums.foreground += foreground
    if values.size:
        sums.low, sums.high = min(sums.low, float(values.min())), max(sums.high, float(values.max()))


def _add_counts(sums: Pixels, found: npt.NDArray[Any], counts: npt.NDArray[Any]) -> None:
    for value, count in zip(found[:MOST_COUNTED].tolist(), counts.tolist(), strict=False):
        if value in sums.counts or len(sums.counts) < MOST_COUNTED:
            sums.counts[value] += count
        else:
            sums.more = True
    sums.more |= len(found) > MOST_COUNTED
