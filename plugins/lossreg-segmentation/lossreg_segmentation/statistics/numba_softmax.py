"""Kernels for mutually exclusive classes: the sums over pixels of (C, L) logits, and their gradient.

They process one tile of pixels at a time. The inner loops run over the pixels of one class, which are contiguous.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from lossreg_segmentation.statistics.numba_math import (
    EXACT,
    HALF,
    ONE,
    SUMMING,
    ZERO,
    any_wrong,
    kept_on_disk,
    narrow,
    select,
    wide_vectors,
    widen,
)
from lossreg_segmentation.statistics.numba_pixels import TILE, normalise, one_class
from lossreg_segmentation.statistics.numba_variant import Variant


@cache
def sums_kernel(variant: Variant):
    """Compile sums(x, t, part, chunk, first, last, gamma, ignored) -> True if a target value is invalid.

    x (B, C, L); t (B, L) class indices or (B, C, L); part (B, chunks, C, 13). Does tasks first..last of B * chunks.
    """
    overlap, cross_entropy, focal, hard, squared, uniform, soft, index, ignore, power = variant

    def sums(x, t, part, chunk, first, last, gamma, ignored):
        wide_vectors()
        classes, size, chunks = x.shape[1], x.shape[2], part.shape[1]
        e = np.empty((classes, TILE), part.dtype)
        weight, highest, others = np.empty(TILE, part.dtype), np.empty(TILE, part.dtype), np.empty(TILE, part.dtype)
        inverse, log_total, top = np.empty(TILE, part.dtype), np.empty(TILE, part.dtype), np.empty(TILE, np.int32)
        wrong = False
        for task in range(first, last):
            b, chunk_index = task // chunks, task % chunks
            part[b, chunk_index] = ZERO
            end = min(size, (chunk_index + 1) * chunk)
            for low in range(chunk_index * chunk, end, TILE):
                high = min(end, low + TILE)
                n = high - low
                weight[:n] = ONE
                if index:
                    ts = t[b, low:high]
                    for i in range(n):
                        counts = ts[i] != ignored if ignore else True
                        weight[i] = select(counts, ONE, ZERO)
                        wrong |= ((ts[i] < 0) | (ts[i] >= classes)) & counts
                else:
                    for c in range(classes):
                        ts = t[b, c, low:high]
                        wrong |= any_wrong(ts, ignored, soft, ignore)
                        if ignore:
                            for i in range(n):
                                weight[i] = select(ts[i] != ignored, weight[i], ZERO)
                normalise(x[b], low, high, weight, ignore, e, top, highest, others, inverse, log_total)
                for c in range(classes):
                    xs, es = x[b, c, low:high], e[c]
                    if not index:
                        ts = t[b, c, low:high]
                    intersection = predicted = actual = valid = ce = focal_sum = hit = either = ZERO
                    p_squared = t_squared = ce_uniform = ZERO
                    for i in range(n):
                        w = weight[i] if ignore else ONE
                        value = select(w > ZERO, widen(xs[i]), ZERO) if ignore else widen(xs[i])
                        is_top = top[i] == c
                        p, loss, _, focus = one_class(
                            value, es[i], is_top, highest[i], others[i], inverse[i], log_total[i], gamma, power
                        )
                        if index:
                            label = select((ts[i] == c) & (w > ZERO), ONE, ZERO)
                        elif soft:
                            label = select(w > ZERO, ts[i], ZERO)
                        else:
                            label = select((ts[i] != 0) & (w > ZERO), ONE, ZERO)
                        actual += label
                        valid += w
                        if overlap:
                            predicted += w * p
                            intersection += select(label < p, label, p)
                        if cross_entropy:
                            ce += label * loss
                        if focal:
                            focal_sum += label * loss * focus
                        if hard:
                            positive = label > HALF
                            hit += select(is_top & positive, ONE, ZERO)
                            either += w * select(is_top | positive, ONE, ZERO)
                        if squared:
                            p_squared += w * p * p
                            t_squared += label * label
                        if uniform:
                            ce_uniform += w * loss
                    out = part[b, chunk_index, c]
                    out[0] += intersection
                    out[1] += predicted
                    out[2] += actual
                    out[3] += valid
                    out[4] += ce
                    out[6] += focal_sum
                    out[8] += hit
                    out[9] += either
                    out[10] += p_squared
                    out[11] += t_squared
                    out[12] += ce_uniform
        return wrong

    return kept_on_disk(sums, SUMMING)


@cache
def gradient_kernel(variant: Variant):
    """Compile gradient(x, t, g, k, chunk, first, last, gamma, ignored): g = dL/dx from k (B, C, 13) = dL/dsums.

    With u = dL/dp and v = dL/dlog p of each class, g = p (u - sum p u) + v - p sum v. An example whose k are all zero
    is not read.
    """
    overlap, cross_entropy, focal, _, squared, uniform, soft, index, ignore, power = variant

    def gradient(x, t, g, k, chunk, first, last, gamma, ignored):
        wide_vectors()
        classes, size = x.shape[1], x.shape[2]
        chunks = (size + chunk - 1) // chunk
        e, u, v = (
            np.empty((classes, TILE), k.dtype),
            np.empty((classes, TILE), k.dtype),
            np.empty((classes, TILE), k.dtype),
        )
        weight, highest, others = np.empty(TILE, k.dtype), np.empty(TILE, k.dtype), np.empty(TILE, k.dtype)
        inverse, log_total, top = np.empty(TILE, k.dtype), np.empty(TILE, k.dtype), np.empty(TILE, np.int32)
        mean_u, sum_v = np.empty(TILE, k.dtype), np.empty(TILE, k.dtype)
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
                weight[:n] = ONE
                if ignore:
                    if index:
                        ts = t[b, low:high]
                        for i in range(n):
                            weight[i] = select(ts[i] != ignored, ONE, ZERO)
                    else:
                        for c in range(classes):
                            ts = t[b, c, low:high]
                            for i in range(n):
                                weight[i] = select(ts[i] != ignored, weight[i], ZERO)
                normalise(x[b], low, high, weight, ignore, e, top, highest, others, inverse, log_total)
                mean_u[:n] = ZERO
                sum_v[:n] = ZERO
                for c in range(classes):
                    xs, es, us, vs = x[b, c, low:high], e[c], u[c], v[c]
                    ts = t[b, low:high] if index else t[b, c, low:high]
                    k_intersection, k_predicted, k_ce, k_focal = k[b, c, 0], k[b, c, 1], k[b, c, 4], k[b, c, 6]
                    k_squared, k_uniform = k[b, c, 10], k[b, c, 12]
                    for i in range(n):
                        value = widen(xs[i])
                        if ignore:
                            value = select(weight[i] > ZERO, value, ZERO)
                        p, loss, rest, focus = one_class(
                            value, es[i], top[i] == c, highest[i], others[i], inverse[i], log_total[i], gamma, power
                        )
                        if index:
                            label = select(ts[i] == c, ONE, ZERO)
                        elif soft:
                            label = select(weight[i] > ZERO, ts[i], ZERO)
                        else:
                            label = select(ts[i] != 0, ONE, ZERO)
                        slope = of_p = ZERO
                        if overlap:
                            side = label
                            if soft:
                                side = select(p < label, ONE, select(p == label, HALF, ZERO))  # as torch.minimum
                            of_p += k_predicted + side * k_intersection
                        if squared:
                            of_p += (p + p) * k_squared
                        if overlap or squared:
                            us[i] = of_p
                            mean_u[i] += p * of_p
                        if cross_entropy:
                            slope = k_ce
                        if focal:
                            growth = gamma * p * loss / select(rest > ZERO, rest, ONE)
                            slope += k_focal * focus * (ONE + growth)
                        of_log_p = -label * slope
                        if uniform:
                            of_log_p -= k_uniform
                        vs[i] = of_log_p
                        sum_v[i] += of_log_p
                        es[i] = p
                for c in range(classes):
                    gs, es, us, vs = g[b, c, low:high], e[c], u[c], v[c]
                    for i in range(n):
                        p = es[i]
                        # v - p sum v, in an order that keeps the digits of 1 - p
                        rest = select(top[i] == c, others[i] * inverse[i], ONE - p)
                        slope = vs[i] * rest - p * (sum_v[i] - vs[i])
                        if overlap or squared:
                            slope += p * (us[i] - mean_u[i])
                        if ignore:
                            slope = select(weight[i] > ZERO, slope, ZERO)
                        gs[i] = narrow(slope, gs[i])

    return kept_on_disk(gradient, EXACT)
