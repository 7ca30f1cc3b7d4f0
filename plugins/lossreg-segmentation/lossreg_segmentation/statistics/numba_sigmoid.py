"""Kernels for independent masks: the sums of rows of logits, and their gradient, one vectorised loop each."""

from __future__ import annotations

from functools import cache

from numba import njit

from lossreg_segmentation.statistics.numba_cache import kept_on_disk
from lossreg_segmentation.statistics.numba_halves import narrow, widen
from lossreg_segmentation.statistics.numba_math import (
    ELEMENT,
    EXACT,
    HALF,
    ONE,
    SUMMING,
    ZERO,
    exp_bounded,
    exp_nonpositive,
    inverse_of,
    log1p_unit,
    log_parts,
    power_of,
    power_slope,
    select,
    wide_vectors,
)
from lossreg_segmentation.statistics.numba_targets import count_targets
from lossreg_segmentation.statistics.numba_variant import Variant
from lossreg_segmentation.statistics.numba_weights import as_weight, is_wrong


@njit(**ELEMENT)
def _chances(value):
    """Return p and 1 - p."""
    e = exp_bounded(-value)
    p = inverse_of(ONE + e)
    return p, e * p


@njit(**ELEMENT)
def _hard(value, positive, gamma, power):
    """Return q = 1 - p_t, p_t, -log p_t and q^gamma of one position with a target of 0 or 1."""
    y = select(positive, -value, value)  # q = sigmoid(y)
    e = exp_nonpositive(-abs(value))
    large = inverse_of(ONE + e)
    small = e * large
    log1p = log1p_unit(e)
    q = select(y >= ZERO, large, small)
    kept = select(y >= ZERO, small, large)  # not 1 - q, which loses all digits near q = 1
    focus = power_of(q, select(y < ZERO, y, ZERO), -log1p, gamma, power)
    return q, kept, select(y > ZERO, y, ZERO) + log1p, focus


@njit(**ELEMENT)
def _soft(value, t, gamma, power):
    """Return p, 1 - p, -log p, -log(1 - p), 1 - p_t and (1 - p_t)^gamma of one position with a target in [0, 1]."""
    e = exp_nonpositive(-abs(value))
    large = inverse_of(ONE + e)
    small = e * large
    p, rest = select(value >= ZERO, large, small), select(value >= ZERO, small, large)
    log1p = log1p_unit(e)
    below = select(value > ZERO, ZERO, -value) + log1p
    above = select(value > ZERO, value, ZERO) + log1p
    q = p * (ONE - t) + rest * t
    high, low = log_parts(q)
    return p, rest, below, above, q, power_of(q, high, low, gamma, power)


@cache
def sums_kernel(variant: Variant):
    """Compile sums(x, t, shared, part, chunk, first, last, gamma, ignored, threshold) -> True if a target is invalid.

    x (R, L); t (R / shared, L); part (R, chunks, 15), in the order of FIELDS. Does tasks first..last of R * chunks.
    A weighted one takes two more arguments: weights (R / sharing, L), and how many masks share them.
    """
    overlap, cross_entropy, focal, hard, squared, _, soft, _, ignore, power, product, weighted = variant

    def sums(x, t, shared, part, chunk, first, last, gamma, ignored, threshold, *weights):
        wide_vectors()
        chunks = part.shape[1]
        wrong = False
        for task in range(first, last):
            row, c = task // chunks, task % chunks
            xs, ts = x[row, c * chunk : (c + 1) * chunk], t[row // shared, c * chunk : (c + 1) * chunk]
            if weighted:
                ws = weights[0][row // weights[1], c * chunk : (c + 1) * chunk]
                wrong |= is_wrong(ts, ws, ignored, soft, ignore)
                positives = valid = ZERO
            else:
                invalid, positives, valid = count_targets(ts, ignored, soft, ignore)
                wrong |= invalid
            intersection = predicted = actual = ce_p = ce_n = focal_p = focal_n = hit = inside = ZERO
            p_squared = t_squared = product_sum = counted = ZERO
            for i in range(xs.size):
                value, tt = widen(xs[i]), ts[i]
                counts = tt != ignored if ignore else True
                w = ONE  # a product with it costs nothing, because the compiler leaves it out
                if weighted:
                    w = as_weight(ws[i])
                    counts = counts & (w > ZERO)
                    w, value = select(counts, w, ZERO), select(counts, value, ZERO)
                    valid += w
                    counted += select(counts, ONE, ZERO)
                if soft:
                    value, t1 = select(counts, value, ZERO), select(counts, tt, ZERO)
                    t0 = ONE - t1
                    actual += t1 * w
                    if squared:
                        t_squared += t1 * t1 * w
                    if cross_entropy or focal:
                        p, _, below, above, _, focus = _soft(value, t1, gamma, power)
                        if cross_entropy:
                            ce_p += t1 * below * w
                            ce_n += select(counts, t0 * above * w, ZERO)
                        if focal:
                            loss = select(counts, focus * (t1 * below + t0 * above) * w, ZERO)
                            focal_p += t1 * loss
                            focal_n += t0 * loss
                    else:
                        p, _ = _chances(value)
                    if overlap:
                        intersection += select(t1 < p, t1, p) * w
                        predicted += select(counts, p * w, ZERO)
                    if product:
                        product_sum += t1 * p * w
                    positive = t1 > HALF
                else:
                    positive = counts & (tt != 0)
                    negative = counts & (tt == 0)
                    if cross_entropy or focal:
                        q, kept, loss, focus = _hard(value, positive, gamma, power)
                        p = select(positive, kept, q)
                        if cross_entropy:
                            ce_p += select(positive, loss * w, ZERO)
                            ce_n += select(negative, loss * w, ZERO)
                        if focal:
                            focal_p += select(positive, focus * loss * w, ZERO)
                            focal_n += select(negative, focus * loss * w, ZERO)
                    else:
                        p, _ = _chances(value)
                    if overlap:
                        intersection += select(positive, p * w, ZERO)
                        predicted += select(counts, p * w, ZERO)
                if weighted:
                    positives += select(positive, w, ZERO)
                if hard:
                    hit += select((value > threshold) & positive, w, ZERO)
                    inside += select((value > threshold) & counts, w, ZERO)
                if squared:
                    p_squared += select(counts, p * p * w, ZERO)
            out = part[row, c]
            out[0], out[1], out[2], out[3], out[4] = intersection, predicted, actual, valid, ce_p
            out[5], out[6], out[7], out[8], out[9] = ce_n, focal_p, focal_n, hit, inside + positives - hit
            out[10], out[11], out[12], out[13] = p_squared, t_squared, ZERO, counted if weighted else valid
            out[14] = product_sum if soft else intersection
            if not soft:
                out[2] = out[11] = positives
        return wrong

    return kept_on_disk(sums, SUMMING)


@cache
def gradient_kernel(variant: Variant):
    """Compile gradient(x, t, shared, g, k, chunk, first, last, gamma, ignored): g = dL/dx from k (R, 15) = dL/dsums.

    A row whose k are all zero is not read. A weighted one takes the weights as the sums' does.
    """
    overlap, cross_entropy, focal, _, squared, _, soft, _, ignore, power, product, weighted = variant

    def gradient(x, t, shared, g, k, chunk, first, last, gamma, ignored, *weights):
        wide_vectors()
        chunks = (x.shape[1] + chunk - 1) // chunk
        for task in range(first, last):
            row, c = task // chunks, task % chunks
            gs = g[row, c * chunk : (c + 1) * chunk]
            if not k[row].any():
                gs[:] = 0
                continue
            xs, ts = x[row, c * chunk : (c + 1) * chunk], t[row // shared, c * chunk : (c + 1) * chunk]
            if weighted:
                ws = weights[0][row // weights[1], c * chunk : (c + 1) * chunk]
            k_intersection, k_predicted, k_ce_p, k_ce_n = k[row, 0], k[row, 1], k[row, 4], k[row, 5]
            k_focal_p, k_focal_n, k_squared = k[row, 6], k[row, 7], k[row, 10] + k[row, 10]
            k_product = k[row, 14]
            if product and not soft:
                k_intersection += k_product
            k_both = k_predicted + k_intersection
            for i in range(xs.size):
                value, tt = widen(xs[i]), ts[i]
                counts = tt != ignored if ignore else True
                w = ONE
                if weighted:
                    w = as_weight(ws[i])
                    counts = counts & (w > ZERO)
                slope = ZERO
                if soft:
                    value, t1 = select(counts, value, ZERO), select(counts, tt, ZERO)
                    t0 = ONE - t1
                    if cross_entropy or focal:
                        p, rest, below, above, q, focus = _soft(value, t1, gamma, power)
                        error = t0 * p - t1 * rest  # not p - t, which loses all digits near p = t = 1
                        if cross_entropy:
                            slope += t0 * k_ce_n * p - t1 * k_ce_p * rest
                        if focal:
                            growth = p * rest * (t0 - t1) * power_slope(q, focus, gamma, power)
                            loss = t1 * below + t0 * above
                            slope += (t1 * k_focal_p + t0 * k_focal_n) * (growth * loss + focus * error)
                    else:
                        p, rest = _chances(value)
                    of_p = ZERO
                    if overlap:
                        tie = (p == t1) | ((value == ZERO) & (t1 == HALF))  # an estimate of 1/2 may be a bit less
                        side = select(p < t1, k_both, k_predicted)
                        of_p += select(tie, k_predicted + HALF * k_intersection, side)  # as torch.minimum
                    if squared:
                        of_p += p * k_squared
                    if product:
                        of_p += t1 * k_product
                    slope += p * rest * of_p
                else:
                    positive = tt != 0
                    of_p = select(positive, k_both, k_predicted) if overlap else ZERO
                    if cross_entropy or focal:
                        q, kept, loss, focus = _hard(value, positive, gamma, power)
                        if squared:
                            of_p += select(positive, kept, q) * k_squared
                        if cross_entropy:
                            slope += select(positive, k_ce_p, k_ce_n) * q
                        if focal:
                            slope += select(positive, k_focal_p, k_focal_n) * focus * (gamma * kept * loss + q)
                        if overlap or squared:
                            slope += q * kept * select(positive, -of_p, of_p)
                        slope = select(positive, -slope, slope)
                    else:
                        p, rest = _chances(value)
                        if squared:
                            of_p += p * k_squared
                        slope = p * rest * of_p
                if ignore or weighted:
                    slope = select(counts, slope * w, ZERO)
                gs[i] = narrow(slope, gs[i])

    return kept_on_disk(gradient, EXACT)
