"""Statistics of a data set's masks, for a look before training: empty masks, foreground, values."""

from __future__ import annotations

from collections.abc import Iterable

from lossreg.health.targets.measure import measure
from lossreg.health.targets.report import Coloured, Flag, Mask, TargetReport, Unreadable
from lossreg.health.targets.tally import Tally
from lossreg.messages import require


def examine(masks: Iterable[object], *, ignore_index: int | None = None, thin: bool = False) -> TargetReport:
    """Return statistics of masks. Each is read once, one at a time.

    Foreground is every value above 0. A mask of several planes (C, H, W) counts as one. One-hot planes are read as
    class indices, with 0 for the background.

    Args:
        masks: arrays or tensors of any size, (H, W), (1, H, W), (C, H, W) or volumes, of booleans, integers or floats;
            or `Mask`, `Coloured`, `Flag` and `Unreadable`, the results of `read_targets`.
        ignore_index: value of pixels that do not count.
        thin: measure how much of the foreground is lines a few pixels wide, which `suggest` uses. It takes as long
            again.
    Raises:
        MissingLibraryError: NumPy is not installed.
        ShapeError: an array is a single number, has no pixels, or does not hold numbers.
    """
    require("numpy", extra="targets", use="check-targets")
    tally = Tally(thin=0 if thin else None)
    for number, item in enumerate(masks):
        target = item if isinstance(item, (Mask, Coloured, Flag, Unreadable)) else Mask(f"mask {number}", item)
        tally.add(measure(target, ignore_index, thin=thin))
    return tally.report()
