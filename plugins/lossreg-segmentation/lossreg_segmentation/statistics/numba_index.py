"""Kernels for class indices: the sums over pixels of (C, L) logits, and their gradient.

As those of numba_softmax.py, but losses are computed once per pixel, for its class, instead of for each class.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

from lossreg_segmentation.statistics.numba_cache import kept_on_disk
from lossreg_segmentation.statistics.numba_halves import narrow
from lossreg_segmentation.statistics.numba_math import (
    EXACT,
    ONE,
    SUMMING,
    ZERO,
    power_slope,
    select,
    wide_vectors,
)
from lossreg_segmentation.statistics.numba_pixels import (
    HIGHEST,
    INVERSE,
    LABEL,
    LOG_TOTAL,
    MORE,
    TILE,
    TOP,
    WEIGHT,
    choose,
    chosen_class,
    normalise,
)
from lossreg_segmentation.statistics.numba_variant import Variant
from lossreg_segmentation.statistics.numba_weights import are_classes_wrong, ignore_weightless

I32 = np.int32
LOSS, FOCUSED = MORE, MORE + TILE
REST, STEEP, MEAN_U, V = MORE, MORE + TILE, MORE + 2 * TILE, MORE + 3 * TILE


@njit(**EXACT)  # compiled once for all variants
def _read(ts, classes, ignored, ignore, marks):
    """Write the classes to `marks`, -1 for an ignored or invalid one; return True if one is invalid."""
    wide_vectors()
    wrong = False
    for i in range(ts.size):
        counts = ts[i] != ignored if ignore else True
        right = (ts[i] >= 0) & (ts[i] < classes)
        wrong |= counts & (not right)
        marks[LABEL + i] = select(counts & right, I32(ts[i]), I32(-1))
    return wrong


@cache
def sums_kernel(variant: Variant):
    """Compile sums(x, t, part, chunk, first, last, gamma, ignored) -> True if a target value is invalid.

    x (B, C, L); t (B, L); part (B, chunks, C, 15). Does tasks first..last of B * chunks.
    A weighted one takes one more argument: weights (B, L).
    """
    overlap, cross_entropy, focal, hard, squared, uniform, _, _, ignore, power, _, weighted = variant
    masked = ignore or weighted

    def sums(x, t, part, chunk, first, last, gamma, ignored, *weights):
        wide_vectors()
        classes, size, chunks = x.shape[1], x.shape[2], part.shape[1]
        logits, e = np.empty((classes, TILE), part.dtype), np.empty((classes, TILE), part.dtype)
        pixels, marks = np.empty(MORE + 2 * TILE, part.dtype), np.empty(2 * TILE, I32)
        wrong = False
        for task in range(first, last):
            b, chunk_index = task // chunks, task % chunks
            part[b, chunk_index] = ZERO
            end = min(size, (chunk_index + 1) * chunk)
            for low in range(chunk_index * chunk, end, TILE):
                high = min(end, low + TILE)
                n = high - low
                invalid = _read(t[b, low:high], classes, ignored, ignore, marks)
                if weighted:
                    invalid = are_classes_wrong(t[b, low:high], weights[0][b, low:high], classes, ignored, ignore)
                wrong |= invalid
                if weighted:
                    ignore_weightless(weights[0][b, low:high], pixels, marks)
                normalise(x[b], low, high, masked, logits, e, pixels, marks)
                choose(logits, pixels, marks, n)
                for i in range(n):
                    _, loss, _, focus = chosen_class(pixels, marks, i, gamma, power)
                    w = pixels[WEIGHT + i] if weighted else ONE
                    pixels[LOSS + i] = loss * w
                    pixels[FOCUSED + i] = loss * focus * w
                for c in range(classes):
                    es = e[c]
                    intersection = predicted = actual = ce = focal_sum = hit = tops = ZERO
                    p_squared = ce_uniform = counted = ZERO
                    for i in range(n):
                        p, here = es[i] * pixels[INVERSE + i], marks[LABEL + i] == I32(c)
                        w = pixels[WEIGHT + i] if weighted else ONE
                        actual += select(here, w, ZERO)
                        if weighted:
                            counted += select(here, ONE, ZERO)
                        if overlap:
                            predicted += p * w
                            intersection += select(here, p * w, ZERO)
                        if cross_entropy:
                            ce += select(here, pixels[LOSS + i], ZERO)
                        if focal:
                            focal_sum += select(here, pixels[FOCUSED + i], ZERO)
                        if hard:
                            hit += select(here & (marks[TOP + i] == I32(c)), w, ZERO)
                            tops += select((marks[LABEL + i] >= 0) & (marks[TOP + i] == I32(c)), w, ZERO)
                        if squared:
                            p_squared += p * p * w
                    if uniform:
                        xs = logits[c]
                        for i in range(n):
                            loss = pixels[LOG_TOTAL + i] - (xs[i] - pixels[HIGHEST + i])
                            w = pixels[WEIGHT + i] if weighted else ONE
                            ce_uniform += select(marks[LABEL + i] >= 0, loss * w, ZERO)
                    out = part[b, chunk_index, c]
                    out[0] += intersection
                    out[1] += predicted
                    out[2] += actual
                    out[4] += ce
                    out[6] += focal_sum
                    out[8] += hit
                    out[9] += tops + actual - hit
                    out[10] += p_squared
                    out[11] += actual
                    out[12] += ce_uniform
                    out[13] += counted if weighted else actual
                    out[14] += intersection
            part[b, chunk_index, :, 3] = part[b, chunk_index, :, 2].sum()  # a valid pixel has one class
            part[b, chunk_index, :, 13] = part[b, chunk_index, :, 13].sum()
        return wrong

    return kept_on_disk(sums, SUMMING)


@cache
def gradient_kernel(variant: Variant):
    """Compile gradient(x, t, g, k, chunk, first, last, gamma, ignored): g = dL/dx from k (B, C, 15) = dL/dsums.

    With u = dL/dp of each class and v = dL/dlog p of the pixel's class, g = p (u - sum p u) - p v; for the pixel's
    class with v (1 - p) in place of -p v. An example whose k are all zero is not read.
    """
    overlap, cross_entropy, focal, _, squared, uniform, _, _, ignore, power, product, weighted = variant
    masked = ignore or weighted

    def gradient(x, t, g, k, chunk, first, last, gamma, ignored, *weights):
        wide_vectors()
        classes, size = x.shape[1], x.shape[2]
        chunks = (size + chunk - 1) // chunk
        logits, e = np.empty((classes, TILE), k.dtype), np.empty((classes, TILE), k.dtype)
        pixels, marks = np.empty(MORE + 4 * TILE, k.dtype), np.empty(2 * TILE, I32)
        for task in range(first, last):
            b, chunk_index = task // chunks, task % chunks
            start, end = chunk_index * chunk, min(size, (chunk_index + 1) * chunk)
            if not k[b].any():
                for c in range(classes):
                    g[b, c, start:end] = 0
                continue
            k_all = k[b, :, 12].sum() if uniform else ZERO
            for low in range(start, end, TILE):
                high = min(end, low + TILE)
                n = high - low
                _read(t[b, low:high], classes, ignored, ignore, marks)
                if weighted:
                    ignore_weightless(weights[0][b, low:high], pixels, marks)
                normalise(x[b], low, high, masked, logits, e, pixels, marks)
                choose(logits, pixels, marks, n)
                for i in range(n):
                    p, loss, rest, focus = chosen_class(pixels, marks, i, gamma, power)
                    pixels[REST + i] = rest
                    pixels[STEEP + i] = focus + power_slope(rest, focus, gamma, power) * p * loss
                    pixels[MEAN_U + i] = pixels[V + i] = ZERO
                for c in range(classes):
                    es, k_ce, k_focal = e[c], k[b, c, 4], k[b, c, 6]
                    k_intersection, k_predicted, k_squared = k[b, c, 0], k[b, c, 1], k[b, c, 10] + k[b, c, 10]
                    if product:
                        k_intersection += k[b, c, 14]
                    for i in range(n):
                        p, here = es[i] * pixels[INVERSE + i], marks[LABEL + i] == I32(c)
                        if overlap:
                            pixels[MEAN_U + i] += p * select(here, k_predicted + k_intersection, k_predicted)
                        if squared:
                            pixels[MEAN_U + i] += p * p * k_squared
                        if cross_entropy or focal:
                            v = -k_ce if cross_entropy else ZERO
                            if focal:
                                v -= k_focal * pixels[STEEP + i]
                            pixels[V + i] = select(here, v, pixels[V + i])
                for c in range(classes):
                    es, gs, k_uniform = e[c], g[b, c, low:high], k[b, c, 12]
                    k_intersection, k_predicted, k_squared = k[b, c, 0], k[b, c, 1], k[b, c, 10] + k[b, c, 10]
                    if product:
                        k_intersection += k[b, c, 14]
                    for i in range(n):
                        p, here, v = es[i] * pixels[INVERSE + i], marks[LABEL + i] == I32(c), pixels[V + i]
                        slope = select(here, v * pixels[REST + i], -p * v)
                        if overlap or squared:
                            u = select(here, k_predicted + k_intersection, k_predicted) if overlap else ZERO
                            if squared:
                                u += p * k_squared
                            slope += p * (u - pixels[MEAN_U + i])
                        if uniform:
                            slope += p * k_all - k_uniform
                        if masked:
                            w = pixels[WEIGHT + i] if weighted else ONE
                            slope = select(marks[LABEL + i] >= 0, slope * w, ZERO)
                        gs[i] = narrow(slope, gs[i])

    return kept_on_disk(gradient, EXACT)
