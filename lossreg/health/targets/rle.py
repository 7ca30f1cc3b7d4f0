"""Masks as lengths of runs, as in the annotations of COCO, SA-1B and SA-V."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossreg.errors import ShapeError
from lossreg.health.targets.images import MOST_PIXELS, too_many

if TYPE_CHECKING:
    import numpy.typing as npt


def decode(encoded: dict[str, Any]) -> npt.NDArray[Any]:
    """Return the mask of `{"size": [height, width], "counts": runs}`, of 0 and 1.

    The runs are lengths in turn of zeros and ones, down the columns: a list, or the text in which COCO packs them.

    Raises:
        ShapeError: the runs do not fill the size.
    """
    import numpy as np

    try:
        height, width = map(int, encoded["size"])
        counts = encoded["counts"]
        runs = unpack(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ShapeError(f"expected size [height, width] and counts of runs: {error}") from error
    if height * width > MOST_PIXELS:
        raise ShapeError(too_many(f"{height:,} x {width:,}"))
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ShapeError(f"the runs have {sum(runs)} pixels, the size {height} x {width} has {height * width}")
    ones = np.arange(len(runs)) % 2
    return np.repeat(ones.astype(np.uint8), runs).reshape(width, height).T


def unpack(text: str | bytes) -> list[int]:
    """Return the runs of a packed text.

    Each character holds five bits of a number, the lowest first, and whether another one follows. From the fourth run
    on, the number is the difference to the run before the last.
    """
    runs: list[int] = []
    value = bits = 0
    for code in text.encode() if isinstance(text, str) else text:
        part = code - 48
        if not 0 <= part < 64:
            raise ValueError(f"the counts have the character {chr(code)!r}")
        value |= (part & 31) << bits
        bits += 5
        if part & 32:
            continue
        if part & 16:  # negative
            value -= 1 << bits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = bits = 0
    if bits:
        raise ValueError("the counts end within a number")
    return runs
