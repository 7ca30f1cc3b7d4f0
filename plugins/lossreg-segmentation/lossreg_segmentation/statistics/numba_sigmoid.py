"""Kernels for independent masks: the sums of rows of logits, and their gradient, one vectorised loop each."""

from __future__ import annotations

from functools import cache

from numba import njit

from lossreg_segmentation.statistics.numba_math import (
    ELEMENT,
    EXACT,
    HALF,
    ONE,
    SUMMING,
    ZERO,
    any_wrong,
    exp_nonpositive,
    kept_on_disk,
    log1p_unit,
    log_positive,
    narrow,
    power_of,
    select,
    wide_vectors,
    widen,
)
from lossreg_segmentation.statistics.numba_variant import Variant


@njit(**ELEMENT)
def _hard(value, positive, gamma, power):
    """Return p, -log p_t, q = 1 - p_t, p_t, dp/dx and q^gamma of one position with a target of 0 or 1."""
    y = select(positive, -value, value)  # q = sigmoid(y)
    e = exp_nonpositive(-abs(value))
    inverse = ONE / (ONE + e)
    q = select(y >= ZERO, inverse, e * inverse)
    kept = select(y >= ZERO, e * inverse, inverse)  # not 1 - q, which loses all digits near q = 1
    log1p = log1p_unit(e)
    loss = select(y > ZERO, y, ZERO) + log1p
    focus = power_of(q, select(y < ZERO, y, ZERO) - log1p, gamma, power)
    return select(value >= ZERO, inverse, e * inverse), loss, q, kept, e * inverse * inverse, focus


@njit(**ELEMENT)
def _soft(value, t, gamma, power):
    """Return p, -log p, -log(1 - p), 1 - p, 1 - p_t and (1 - p_t)^gamma of one position with a target in [0, 1]."""
    e = exp_nonpositive(-abs(value))
    inverse = ONE / (ONE + e)
    p = select(value >= ZERO, inverse, e * inverse)
    rest = select(value >= ZERO, e * inverse, inverse)
    log1p = log1p_unit(e)
    below = select(value > ZERO, ZERO, -value) + log1p
    above = select(value > ZERO, value, ZERO) + log1p
    q = p * (ONE - t) + rest * t
    return p, below, above, rest, q, power_of(q, log_positive(q), gamma, power)


@cache
def sums_kernel(variant: Variant):
    """Compile sums(x, t, shared, part, chunk, first, last, gamma, ignored, threshold) -> True if a target is invalid.

    x (R, L); t (R / shared, L); part (R, chunks, 13), in the order of FIELDS. Does tasks first..last of R * chunks.
    """
    overlap, cross_entropy, focal, hard, squared, _, soft, _, ignore, power = variant

    def sums(x, t, shared, part, chunk, first, last, gamma, ignored, threshold):
        wide_vectors()
        chunks = part.shape[1]
        wrong = False
        for task in range(first, last):
            row, c = task // chunks, task % chunks
            xs, ts = x[row, c * chunk : (c + 1) * chunk], t[row // shared, c * chunk : (c + 1) * chunk]
            wrong |= any_wrong(ts, ignored, soft, ignore)
            intersection = predicted = actual = valid = ce_p = ce_n = focal_p = focal_n = hit = either = ZERO
            p_squared = t_squared = ZERO
            for i in range(xs.size):
                value, tt = widen(xs[i]), ts[i]
                counts = tt != ignored if ignore else True
                if ignore:
                    value = select(counts, value, ZERO)
                if soft:
                    label = select(counts, tt, ZERO)
                    p, below, above, _, _, focus = _soft(value, label, gamma, power)
                else:
                    positive = counts & (tt != 0)
                    label = select(positive, ONE, ZERO)
                    p, below, _, _, _, focus = _hard(value, positive, gamma, power)
                    above = below
                weight = select(counts, ONE, ZERO)
                other = weight - label
                actual += label
                valid += weight
                if overlap:
                    predicted += weight * p
                    intersection += select(label < p, label, p)
                if cross_entropy:
                    ce_p += label * below
                    ce_n += other * above
                if focal:
                    loss = focus * (label * below + other * above)
                    focal_p += label * loss
                    focal_n += other * loss
                if hard:
                    inside, positive = value > threshold, label > HALF
                    hit += select(inside & positive, ONE, ZERO)
                    either += select(counts & (inside | positive), ONE, ZERO)
                if squared:
                    p_squared += weight * p * p
                    t_squared += label * label
            out = part[row, c]
            out[0], out[1], out[2], out[3], out[4] = intersection, predicted, actual, valid, ce_p
            out[5], out[6], out[7], out[8], out[9] = ce_n, focal_p, focal_n, hit, either
            out[10], out[11], out[12] = p_squared, t_squared, ZERO
        return wrong

    return kept_on_disk(sums, SUMMING)


@cache
def gradient_kernel(variant: Variant):
    """Compile gradient(x, t, shared, g, k, chunk, first, last, gamma, ignored): g = dL/dx from k (R, 13) = dL/dsums.

    A row whose k are all zero is not read.
    """
    overlap, cross_entropy, focal, _, squared, _, soft, _, ignore, power = variant

    def gradient(x, t, shared, g, k, chunk, first, last, gamma, ignored):
        wide_vectors()
        chunks = (x.shape[1] + chunk - 1) // chunk
        for task in range(first, last):
            row, c = task // chunks, task % chunks
            gs = g[row, c * chunk : (c + 1) * chunk]
            if not k[row].any():
                gs[:] = 0
                continue
            xs, ts = x[row, c * chunk : (c + 1) * chunk], t[row // shared, c * chunk : (c + 1) * chunk]
            k_intersection, k_predicted = k[row, 0], k[row, 1]
            k_ce_p, k_ce_n, k_focal_p, k_focal_n = k[row, 4], k[row, 5], k[row, 6], k[row, 7]
            k_squared = k[row, 10]
            for i in range(xs.size):
                value, tt = widen(xs[i]), ts[i]
                counts = tt != ignored if ignore else True
                if ignore:
                    value = select(counts, value, ZERO)
                slope = ZERO
                if soft:
                    t1 = select(counts, tt, ZERO)
                    t0 = ONE - t1
                    p, below, above, rest, q, focus = _soft(value, t1, gamma, power)
                    if overlap:
                        side = select(p < t1, ONE, select(p == t1, HALF, ZERO))  # as torch.minimum shares a tie
                        slope += p * rest * (k_predicted + side * k_intersection)
                    if squared:
                        slope += p * rest * (p + p) * k_squared
                    if cross_entropy:
                        slope += t0 * k_ce_n * p - t1 * k_ce_p * rest
                    if focal:
                        growth = gamma * p * rest * (t0 - t1) / select(q > ZERO, q, ONE)  # of (1 - p_t)^gamma
                        loss = t1 * below + t0 * above
                        slope += (t1 * k_focal_p + t0 * k_focal_n) * focus * (growth * loss + p - t1)
                else:
                    positive = counts & (tt != 0)
                    p, loss, q, kept, steep, focus = _hard(value, positive, gamma, power)
                    if cross_entropy:
                        slope += select(positive, k_ce_p, k_ce_n) * q
                    if focal:
                        slope += select(positive, k_focal_p, k_focal_n) * focus * (gamma * kept * loss + q)
                    slope = select(positive, -slope, slope)
                    if overlap:
                        slope += steep * (k_predicted + select(positive, k_intersection, ZERO))
                    if squared:
                        slope += steep * (p + p) * k_squared
                if ignore:
                    slope = select(counts, slope, ZERO)
                gs[i] = narrow(slope, gs[i])

    return kept_on_disk(gradient, EXACT)
