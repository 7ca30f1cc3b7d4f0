"""Thin foreground: lines, such as vessels, cracks and roads, a few pixels wide and much longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy.typing as npt

NEAR, FAR = 5, 21  # sides of the two windows around a pixel
FILLED: Final = 0.7  # of the near window, at most: a line 3 pixels wide fills 0.6 of it
LONGER: Final = 3  # times as much foreground in the far window: a line has about 4 times as much, a spot none more
LOOSE: Final = 0.3  # of the far window, at most: the border of a large object fills half of it


def thin_pixels(foreground: npt.NDArray[Any]) -> int:
    """Return the number of pixels of a mask (..., H, W) that belong to a line. Spots and large objects have few."""
    if foreground.ndim < 2 or not foreground.any():
        return 0
    near, far = _around(foreground, NEAR), _around(foreground, FAR)
    thin = foreground & (near <= FILLED * NEAR**2) & (far >= LONGER * near) & (far <= LOOSE * FAR**2)
    return int(thin.sum())


def _around(foreground: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Return the foreground in the window around each pixel, in pixels."""
    import numpy as np

    found = foreground.astype(np.int32)
    for axis in (-1, -2):
        border = [(0, 0)] * found.ndim
        border[axis] = (side // 2 + 1, side // 2)
        total = np.moveaxis(np.pad(found, border).cumsum(axis=axis, dtype=np.int32), axis, -1)
        found = np.moveaxis(total[..., side:] - total[..., :-side], -1, axis)
    return found
