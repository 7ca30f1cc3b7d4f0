"""Masks that were resized with interpolation or saved with loss: between their classes lie values that mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy.typing as npt

FEWEST: Final = 2  # values between the classes; a mask of three classes has one
SHARP: Final = 0.35  # share of borders that go from class to class at once; sound masks have over 0.8
GRADUAL: Final = 0.2  # share of the pixels in between that lie between their neighbours in value; of specks under 0.15
RAMPS: Final = 0.9  # the same, if all are ramps, as after a resize to half the size, which leaves borders sharp
MANY: Final = 20  # such pixels
PEAK: Final = 5  # times as many pixels as a value in between has on average
NEAR: Final = 0.125  # of the range of values: as far as compression carries a value
AT_THE_ENDS: Final = 0.75  # share of the pixels near the lowest or the highest value


def classes_before(values: npt.NDArray[Any], found: npt.NDArray[Any], counts: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return the values that a mask (..., H, W) had before it was interpolated or compressed, () if it was not.

    Such a mask goes from one class to another over several pixels, a sound one at once. Values of classes have areas of
    equal pixels; values in between do not.

    Args:
        values: finite.
        found: the sorted values.
        counts: the number of pixels of each.
    """
    import numpy as np

    if len(found) < 2 + FEWEST or values.ndim < 2 or min(values.shape[-2:]) < 3:
        return ()
    ranks = _ranks(values, found)
    lone, between = _compared(ranks)
    settled = 2 * np.bincount(ranks[lone], minlength=len(found)) < counts
    if settled.sum() >= 2 and (~settled).sum() >= FEWEST and 2 * counts[settled].sum() > values.size:
        inner = between[~settled[ranks]]
        gradual, many = inner.mean(), (~settled).sum() > FEWEST
        ramps = gradual >= RAMPS and len(inner) >= MANY and found[-1] - found[0] > len(found)
        if ramps or (many and gradual >= GRADUAL and _sharp(ranks, settled) <= SHARP):
            return _peaks(found[settled], counts[settled], usual=counts[~settled].mean())
    return _ends(found, counts, lone, ranks)


def _ranks(values: npt.NDArray[Any], found: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the place of each value among the sorted ones."""
    import numpy as np

    if values.dtype == np.uint8:  # several times faster than a search
        table = np.zeros(256, np.int16)
        table[found] = np.arange(len(found))
        found_ranks: npt.NDArray[Any] = table[values]
        return found_ranks
    return np.searchsorted(found, values)


def _compared(ranks: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return which pixels differ from both neighbours in their row or column, and which lie between them in value."""
    import numpy as np

    lone, between = np.zeros(ranks.shape, bool), np.zeros(ranks.shape, bool)
    for axis in (-1, -2):
        line = ranks.swapaxes(axis, -1)
        up, down = line[..., 1:] > line[..., :-1], line[..., 1:] < line[..., :-1]
        differs = up | down
        lone.swapaxes(axis, -1)[..., 1:-1] |= differs[..., 1:] & differs[..., :-1]
        between.swapaxes(axis, -1)[..., 1:-1] |= (up[..., 1:] & up[..., :-1]) | (down[..., 1:] & down[..., :-1])
    return lone, between


def _sharp(ranks: npt.NDArray[Any], settled: npt.NDArray[Any]) -> float:
    """Return the share of neighbours of different values that both have the value of a class."""
    of_class = settled[ranks]
    borders = direct = 0
    for axis in (-1, -2):
        line, known = ranks.swapaxes(axis, -1), of_class.swapaxes(axis, -1)
        differs = line[..., 1:] != line[..., :-1]
        borders += int(differs.sum())
        direct += int((differs & known[..., 1:] & known[..., :-1]).sum())
    return direct / max(borders, 1)


def _peaks(found: npt.NDArray[Any], counts: npt.NDArray[Any], usual: float) -> tuple[float, ...]:
    """Return the values that are the most frequent ones within reach of compression.

    Those that are not the lowest or the highest must be far more frequent than a value in between, `usual`.
    """
    numbers = found.astype(float)  # the difference of unsigned integers wraps around
    near = abs(numbers[:, None] - numbers) <= NEAR / 2 * (numbers[-1] - numbers[0])
    highest = counts == (near * counts).max(axis=1)
    peaks, heights = found[highest].tolist(), counts[highest].tolist()
    inner = [value for value, height in zip(peaks, heights, strict=True) if height >= PEAK * usual]
    return tuple(sorted({peaks[0], *inner, peaks[-1]}))


def _ends(
    found: npt.NDArray[Any], counts: npt.NDArray[Any], lone: npt.NDArray[Any], ranks: npt.NDArray[Any]
) -> tuple[float, ...]:
    """Return the lowest and the highest value if nearly all pixels have about these, and the others many values."""
    low, high = float(found[0]), float(found[-1])
    if low != 0 or high < 100 or counts[-1] != counts[1:].max():  # numbers of classes and objects, and photographs
        return ()
    lower, upper = found <= NEAR * high, found >= high - NEAR * high
    inner = found[1:-1]
    below = int((inner < high / 2).sum())
    spread = len(inner) >= 8 and below >= 2 and len(inner) - below >= 2
    if spread and counts[lower | upper].sum() >= AT_THE_ENDS * counts.sum():
        return (low, high)
    # Only slightly compressed: no value lies far from both ends, and those beside them are single pixels.
    if not (lower | upper).all() or not lower[1] or not upper[-2]:
        return ()
    rare = counts[lower][1:].sum() < 0.1 * counts[0] and counts[upper][:-1].sum() < 0.1 * counts[-1]
    strewn = lone[(ranks > 0) & (ranks < len(found) - 1)].mean() >= 0.5
    return (low, high) if rare and strewn else ()
