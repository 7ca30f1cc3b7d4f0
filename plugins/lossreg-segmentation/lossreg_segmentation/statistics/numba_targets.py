"""The values of a chunk of targets, counted by integers and in the width of the target's type."""

from __future__ import annotations

import numpy as np
from numba import njit

from lossreg_segmentation.statistics.numba_math import EXACT, wide_vectors

U16 = np.uint16
_ONE, _NONE = U16(1), U16(0)


@njit(**EXACT)  # compiled once for all variants
def count_targets(ts, ignored, soft, ignore):
    """Return (invalid, positives, valid) for at most 65,535 targets.

    invalid: True if a valid target is outside [0, 1], NaN, or, for hard targets, between 0 and 1. positives: valid
    targets above 1/2. valid: targets that are not ignored. Both are uint16, the
    smallest type that holds them, so that most fit a vector.
    """
    wide_vectors()
    invalid = False
    positives = valid = _NONE
    for i in range(ts.size):
        t = ts[i]
        if soft:
            right = (t >= 0) & (t <= 1)
            positive = t > 0.5
        else:
            right = (t == 0) | (t == 1)
            positive = t != 0
        if ignore:
            counts = t != ignored
            right |= not counts
            positive &= counts
            valid = U16(valid + (_ONE if counts else _NONE))
        invalid |= not right
        positives = U16(positives + (_ONE if positive else _NONE))
    return invalid, positives, valid if ignore else U16(ts.size)
