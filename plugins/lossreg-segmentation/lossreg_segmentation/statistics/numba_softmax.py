"""Kernels for mutually exclusive classes: the sums over pixels of (C, L) logits, and their gradient.

They process one tile of pixels at a time. The inner loops run over the pixels of one class, which are contiguous.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

from lossreg_segmentation.statistics import numba_index
from lossreg_segmentation.statistics.numba_cache import kept_on_disk
from lossreg_segmentation.statistics.numba_halves import narrow
from lossreg_segmentation.statistics.numba_math import (
    EXACT,
    HALF,
    ONE,
    SUMMING,
    ZERO,
    power_slope,
    select,
    wide_vectors,
)
from lossreg_segmentation.statistics.numba_pixels import (
    INVERSE,
    LABEL,
    MORE,
    OTHERS,
    TILE,
    TOP,
    WEIGHT,
    normalise,
    one_class,
)
from lossreg_segmentation.statistics.numba_targets import count_targets
from lossreg_segmentation.statistics.numba_variant import Variant
from lossreg_segmentation.statistics.numba_weights import ignore_weightless, is_wrong

I32 = np.int32
MOST = np.float32(1e30)
MEAN_U, SUM_V = MORE, MORE + TILE


@njit(**EXACT)  # compiled once for all variants
def _counted(t, low, high, ignored, ignore, marks):
    """Write 0 for pixels that count and -1 for pixels with an ignored class."""
    wide_vectors()
    marks[LABEL : LABEL + high - low] = 0
    if ignore:
        for c in range(len(t)):
            ts = t[c, low:high]
            for i in range(high - low):
                marks[LABEL + i] = select(ts[i] != ignored, marks[LABEL + i], I32(-1))


@cache
def sums_kernel(variant: Variant):
    """Compile sums(x, t, part, chunk, first, last, gamma, ignored) -> True if a target value is invalid.

    x (B, C, L); t (B, L) class indices or (B, C, L); part (B, chunks, C, 15). Does tasks first..last of B * chunks.
    A weighted one takes one more argument: weights (B, L).
    """
    if variant.class_index:
        return numba_index.sums_kernel(variant)
    overlap, cross_entropy, focal, hard, squared, uniform, soft, _, ignore, power, product, weighted = variant
    masked = ignore or weighted

    def sums(x, t, part, chunk, first, last, gamma, ignored, *weights):
        wide_vectors()
        classes, size, chunks = x.shape[1], x.shape[2], part.shape[1]
        logits, e = np.empty((classes, TILE), part.dtype), np.empty((classes, TILE), part.dtype)
        pixels, marks = np.empty(MORE, part.dtype), np.empty(2 * TILE, I32)
        wrong = False
        for task in range(first, last):
            b, chunk_index = task // chunks, task % chunks
            part[b, chunk_index] = ZERO
            end = min(size, (chunk_index + 1) * chunk)
            for low in range(chunk_index * chunk, end, TILE):
                high = min(end, low + TILE)
                n = high - low
                _counted(t[b], low, high, ignored, ignore, marks)
                if weighted:
                    ignore_weightless(weights[0][b, low:high], pixels, marks)
                normalise(x[b], low, high, masked, logits, e, pixels, marks)
                for c in range(classes):
                    ts, xs, es = t[b, c, low:high], logits[c], e[c]
                    if weighted:
                        wrong |= is_wrong(ts, weights[0][b, low:high], ignored, soft, ignore)
                    else:
                        wrong |= count_targets(ts, ignored, soft, ignore)[0]
                    counted = intersection = predicted = actual = valid = ce = focal_sum = hit = either = ZERO
                    p_squared = t_squared = ce_uniform = product_sum = ZERO
                    for i in range(n):
                        counts = marks[LABEL + i] >= 0 if masked else True
                        w = pixels[WEIGHT + i] if weighted else ONE
                        p, loss, _, focus = one_class(xs[i], es[i], marks[TOP + i] == I32(c), pixels, i, gamma, power)
                        target = select(counts, ts[i], ZERO) if soft else select(counts & (ts[i] != 0), ONE, ZERO)
                        actual += target * w
                        if masked:
                            valid += select(counts, w, ZERO)
                        if weighted:
                            counted += select(counts, ONE, ZERO)
                        if overlap:
                            predicted += p * w
                            intersection += select(target < p, target, p) * w
                        if cross_entropy:
                            ce += select(target > ZERO, target * loss * w, ZERO)  # its loss may be infinite
                        if focal:
                            focal_sum += select(target > ZERO, target * (loss * focus) * w, ZERO)
                        if hard:
                            is_top, positive = marks[TOP + i] == I32(c), target > HALF
                            hit += select(is_top & positive, w, ZERO)
                            either += select(counts & (is_top | positive), w, ZERO)
                        if squared:
                            p_squared += p * p * w
                            t_squared += target * target * w
                        if uniform:
                            ce_uniform += select(counts, loss * w, ZERO)
                        if product:
                            product_sum += target * p * w
                    out = part[b, chunk_index, c]
                    out[0] += intersection
                    out[1] += predicted
                    out[2] += actual
                    out[3] += valid if masked else n
                    out[4] += ce
                    out[6] += focal_sum
                    out[8] += hit
                    out[9] += either
                    out[10] += p_squared
                    out[11] += t_squared
                    out[12] += ce_uniform
                    if weighted:
                        out[13] += counted
                    else:
                        out[13] += valid if ignore else n
                    out[14] += product_sum if soft else intersection
        return wrong

    return kept_on_disk(sums, SUMMING)


@cache
def gradient_kernel(variant: Variant):
    """Compile gradient(x, t, g, k, chunk, first, last, gamma, ignored): g = dL/dx from k (B, C, 15) = dL/dsums.

    With u = dL/dp and v = dL/dlog p of each class, g = p (u - sum p u) + v - p sum v. An example whose k are all zero
    is not read.
    """
    if variant.class_index:
        return numba_index.gradient_kernel(variant)
    overlap, cross_entropy, focal, _, squared, uniform, soft, _, ignore, power, product, weighted = variant
    masked = ignore or weighted

    def gradient(x, t, g, k, chunk, first, last, gamma, ignored, *weights):
        wide_vectors()
        classes, size = x.shape[1], x.shape[2]
        chunks = (size + chunk - 1) // chunk
        logits, e = np.empty((classes, TILE), k.dtype), np.empty((classes, TILE), k.dtype)
        u = np.empty((classes, TILE), k.dtype)
        pixels, marks = np.empty(MORE + 2 * TILE, k.dtype), np.empty(2 * TILE, I32)
        v = logits
        for task in range(first, last):
            b, chunk_index = task // chunks, task % chunks
            start, end = chunk_index * chunk, min(size, (chunk_index + 1) * chunk)
            if not k[b].any():
                for c in range(classes):
                    g[b, c, start:end] = 0
                continue
            for low in range(start, end, TILE):
                high = min(end, low + TILE)
                n = high - low
                _counted(t[b], low, high, ignored, ignore, marks)
                if weighted:
                    ignore_weightless(weights[0][b, low:high], pixels, marks)
                normalise(x[b], low, high, masked, logits, e, pixels, marks)
                pixels[MEAN_U : MEAN_U + n] = ZERO
                pixels[SUM_V : SUM_V + n] = ZERO
                for c in range(classes):
                    es, us, vs, ts = e[c], u[c], v[c], t[b, c, low:high]
                    k_intersection, k_predicted, k_ce, k_focal = k[b, c, 0], k[b, c, 1], k[b, c, 4], k[b, c, 6]
                    k_squared, k_uniform, k_product = k[b, c, 10], k[b, c, 12], k[b, c, 14]
                    if product and not soft:
                        k_intersection += k_product
                    for i in range(n):
                        p, loss, rest, focus = one_class(
                            vs[i], es[i], marks[TOP + i] == I32(c), pixels, i, gamma, power
                        )
                        if soft:
                            target = select(marks[LABEL + i] >= 0, ts[i], ZERO) if masked else ts[i]
                        else:
                            target = select(ts[i] != 0, ONE, ZERO)
                        slope = of_p = ZERO
                        if overlap:
                            side = target
                            if soft:
                                side = select(p < target, ONE, select(p == target, HALF, ZERO))  # as torch.minimum
                            of_p += k_predicted + side * k_intersection
                        if squared:
                            of_p += (p + p) * k_squared
                        if product and soft:
                            of_p += target * k_product
                        if overlap or squared or product:
                            us[i] = of_p
                            pixels[MEAN_U + i] += p * of_p
                        if cross_entropy:
                            slope = k_ce
                        if focal:
                            loss = select(loss > MOST, MOST, loss)  # 0 times infinity would be NaN
                            slope += k_focal * (focus + power_slope(rest, focus, gamma, power) * p * loss)
                        of_log_p = -target * slope
                        if uniform:
                            of_log_p -= k_uniform
                        vs[i] = of_log_p
                        pixels[SUM_V + i] += of_log_p
                        es[i] = p
                for c in range(classes):
                    gs, es, us, vs = g[b, c, low:high], e[c], u[c], v[c]
                    for i in range(n):
                        p = es[i]
                        # v - p sum v, in an order that keeps the digits of 1 - p
                        rest = select(marks[TOP + i] == I32(c), pixels[OTHERS + i] * pixels[INVERSE + i], ONE - p)
                        slope = vs[i] * rest - p * (pixels[SUM_V + i] - vs[i])
                        if overlap or squared or product:
                            slope += p * (us[i] - pixels[MEAN_U + i])
                        if masked:
                            w = pixels[WEIGHT + i] if weighted else ONE
                            slope = select(marks[LABEL + i] >= 0, slope * w, ZERO)
                        gs[i] = narrow(slope, gs[i])

    return kept_on_disk(gradient, EXACT)
