"""The softmax of a tile of pixels; the exponentials of all classes of a tile stay in cache."""

from __future__ import annotations

import numpy as np
from numba import njit

from lossreg_segmentation.statistics.numba_halves import widen
from lossreg_segmentation.statistics.numba_math import (
    ELEMENT,
    EXACT,
    ONE,
    ZERO,
    exp_nonpositive,
    inverse_of,
    log1p_unit,
    log_parts,
    log_positive,
    power_of,
    select,
    wide_vectors,
)

I32 = np.int32
TILE = 256  # pixels

# Where the numbers of a tile's pixels begin in one array of floats and one of integers. In separate arrays, LLVM would
# check at run time whether they overlap, and vectorise nothing where that takes many comparisons.
HIGHEST, OTHERS, INVERSE, LOG_TOTAL, CHOSEN, WEIGHT, MORE = (number * TILE for number in range(7))
LABEL, TOP = 0, TILE


@njit(**EXACT)  # compiled once for all variants
def normalise(x, low, high, ignore, logits, e, pixels, marks):
    """Write the softmax of pixels low..high of x (C, L).

    Per class to `logits` and `e`: the logit, copied because rows of an image are often a multiple of the cache's period
    apart and push each other out of it; e^(logit - highest). Per pixel: to `pixels` the highest logit, the sum of e
    over all classes but the top one, 1/total and log total; to `marks` the top class. With `ignore`, logits of pixels
    with a label below 0 are read as 0, and their 1/total is 0.
    """
    wide_vectors()
    classes, n = len(x), high - low
    for c in range(classes):
        xs, copied = x[c, low:high], logits[c]
        for i in range(n):
            value = widen(xs[i])
            copied[i] = select(marks[LABEL + i] >= 0, value, ZERO) if ignore else value
    for i in range(n):
        pixels[HIGHEST + i] = logits[0, i]
        pixels[OTHERS + i] = pixels[CHOSEN + i] = ZERO
        marks[TOP + i] = 0
    for c in range(1, classes):
        copied = logits[c]
        for i in range(n):
            value, most = copied[i], pixels[HIGHEST + i]
            marks[TOP + i] = select(value > most, I32(c), marks[TOP + i])
            pixels[HIGHEST + i] = select(value > most, value, most)
    for c in range(classes):
        copied, es = logits[c], e[c]
        for i in range(n):
            power = exp_nonpositive(copied[i] - pixels[HIGHEST + i])
            pixels[OTHERS + i] += select(marks[TOP + i] == I32(c), ZERO, power)
            es[i] = power
    for i in range(n):
        others = pixels[OTHERS + i]
        total = others + ONE
        # Adding 1 to a small sum would round it away, and with it the loss of a confident pixel.
        near = log1p_unit(select(others < ONE, others, ONE))
        pixels[LOG_TOTAL + i] = select(others < ONE, near, log_positive(total))
        inverse = inverse_of(total)
        pixels[INVERSE + i] = select(marks[LABEL + i] >= 0, inverse, ZERO) if ignore else inverse


@njit(**ELEMENT)
def one_class(value, e, is_top, pixels, i, gamma, power):
    """Return p, -log p, 1 - p and (1 - p)^gamma of one class of pixel i."""
    p = e * pixels[INVERSE + i]
    rest = select(is_top, pixels[OTHERS + i] * pixels[INVERSE + i], ONE - p)
    high, low = log_parts(rest)
    return p, pixels[LOG_TOTAL + i] - (value - pixels[HIGHEST + i]), rest, power_of(rest, high, low, gamma, power)


@njit(**EXACT)
def choose(logits, pixels, marks, n):
    """Write the logit of each pixel's class. A loop over classes vectorises, where reading by index would not."""
    wide_vectors()
    for c in range(len(logits)):
        copied = logits[c]
        for i in range(n):
            pixels[CHOSEN + i] = select(marks[LABEL + i] == I32(c), copied[i], pixels[CHOSEN + i])


@njit(**ELEMENT)
def chosen_class(pixels, marks, i, gamma, power):
    """Return what `one_class` returns for the class of pixel i."""
    value = pixels[CHOSEN + i]
    e = exp_nonpositive(value - pixels[HIGHEST + i])
    return one_class(value, e, marks[LABEL + i] == marks[TOP + i], pixels, i, gamma, power)
