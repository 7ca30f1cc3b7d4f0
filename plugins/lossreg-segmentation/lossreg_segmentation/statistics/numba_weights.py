"""The weights of a chunk of positions: what they ignore, and the values that no weight or target may have."""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from lossreg_segmentation.statistics.numba_math import EXACT, ONE, OPTIONS, ZERO, select, wide_vectors
from lossreg_segmentation.statistics.numba_pixels import LABEL, WEIGHT

I32 = np.int32


def as_weight(value):
    """Convert a weight to the kernels' type; uint8 is a bool."""


@overload(as_weight, jit_options=OPTIONS)
def _as_weight(value):
    if value == types.uint8:
        return lambda value: select(value != 0, ONE, ZERO)
    return lambda value: value


@njit(**EXACT)  # compiled once for all variants, as the others
def is_wrong(ts, ws, ignored, soft, ignore):
    """Return True if a weight is negative, NaN or infinite, or a target that counts is invalid."""
    wide_vectors()
    wrong = False
    for i in range(ts.size):
        t = ts[i]
        right = (t >= 0) & (t <= 1) if soft else (t == 0) | (t == 1)
        if ignore:
            right |= t == ignored
        w = as_weight(ws[i])
        wrong |= not ((right | (w == ZERO)) & (w >= ZERO) & (w < np.inf))
    return wrong


@njit(**EXACT)
def ignore_weightless(ws, pixels, marks):
    """Copy the weights of pixels, and write -1 for those of weight 0, as for ignored ones, whose weight becomes 0."""
    wide_vectors()
    for i in range(ws.size):
        w = as_weight(ws[i])
        counts = (w > ZERO) & (marks[LABEL + i] >= 0)
        pixels[WEIGHT + i] = select(counts, w, ZERO)
        marks[LABEL + i] = select(counts, marks[LABEL + i], I32(-1))


@njit(**EXACT)
def are_classes_wrong(ts, ws, classes, ignored, ignore):
    """Return True if a weight is negative, NaN or infinite, or a class index that counts does not exist."""
    wide_vectors()
    wrong = False
    for i in range(ts.size):
        right = (ts[i] >= 0) & (ts[i] < classes)
        if ignore:
            right |= ts[i] == ignored
        w = as_weight(ws[i])
        wrong |= not ((right | (w == ZERO)) & (w >= ZERO) & (w < np.inf))
    return wrong
