"""The softmax of a tile of pixels; the exponentials of all classes of a tile stay in cache."""

from __future__ import annotations

import numpy as np
from numba import njit

from lossreg_segmentation.statistics.numba_math import (
    ELEMENT,
    EXACT,
    ONE,
    ZERO,
    exp_nonpositive,
    log1p_unit,
    log_positive,
    power_of,
    select,
    wide_vectors,
    widen,
)

TILE = 256  # pixels


@njit(**EXACT)  # compiled once for all variants
def normalise(x, low, high, weight, ignore, e, top, highest, others, inverse, log_total):
    """Write, per pixel, the top class, e^(x - highest) per class, their sum without the top, 1/total, log total."""
    wide_vectors()
    classes, n = len(x), high - low
    xs = x[0, low:high]
    for i in range(n):
        value = widen(xs[i])
        top[i] = 0
        others[i] = ZERO
        highest[i] = select(weight[i] > ZERO, value, ZERO) if ignore else value
    for c in range(1, classes):
        xs = x[c, low:high]
        for i in range(n):
            value = widen(xs[i])
            value = select(weight[i] > ZERO, value, ZERO) if ignore else value
            top[i] = select(value > highest[i], np.int32(c), top[i])
            highest[i] = select(value > highest[i], value, highest[i])
    for c in range(classes):
        xs, es = x[c, low:high], e[c]
        for i in range(n):
            value = widen(xs[i])
            value = select(weight[i] > ZERO, value, ZERO) if ignore else value
            power = exp_nonpositive(value - highest[i])
            others[i] += select(top[i] == c, ZERO, power)
            es[i] = power
    for i in range(n):
        total = others[i] + ONE
        inverse[i] = ONE / total
        # Adding 1 to a small sum would round it away, and with it the loss of a confident pixel.
        near = log1p_unit(select(others[i] < ONE, others[i], ONE))
        log_total[i] = select(others[i] < ONE, near, log_positive(total))


@njit(**ELEMENT)
def one_class(value, e, is_top, highest, others, inverse, log_total, gamma, power):
    """Return p, -log p, 1 - p and (1 - p)^gamma of one class of one pixel."""
    p = e * inverse
    rest = select(is_top, others * inverse, ONE - p)
    return p, log_total - (value - highest), rest, power_of(rest, log_positive(rest), gamma, power)
