# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""The sums of independent masks and their gradient on a GPU.

A constant named like a statistic, for example INTERSECTION, is its place in the stack of sums, -1 if it is not
requested. GAMMA is gamma's value where a shorter formula exists. The kernels compute in float32, or in float64 if the
sums are float64. A sum of V adjacent positions stays in a thread; a program adds its threads up once, at its end.
"""

import triton
import triton.language as tl

from lossreg_segmentation.statistics.triton_masks import (
    hard_sides,
    probability,
    read_block,
    read_weights,
    soft_sides,
    start_of,
    weighed,
)
from lossreg_segmentation.statistics.triton_math import TINY, add_up, largest, number, power, unsigned


@triton.jit
def _add(sums, PLACE: tl.constexpr, values, V: tl.constexpr):
    if PLACE >= 0:
        sums += add_up(values, V)
    return sums


@triton.jit
def _put(parts_ptr, PLACE: tl.constexpr, stride, value, wrong):
    if PLACE >= 0:
        value = tl.where(wrong, float("nan"), value.to(parts_ptr.dtype.element_ty))
        tl.store(parts_ptr + PLACE * stride, value)


@triton.jit(do_not_specialize=["rows", "gamma", "threshold", "ignored"])
def sigmoid_sums(
    x_ptr, t_ptr, parts_ptr, found_ptr, x_b, x_c, x_l, t_b, t_c, t_l, L, length, rows,
    gamma, threshold, ignored, w_ptr, w_b, w_c, w_l,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr, ACTUAL: tl.constexpr, VALID: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, CROSS_ENTROPY_NEGATIVE: tl.constexpr,
    FOCAL_POSITIVE: tl.constexpr, FOCAL_NEGATIVE: tl.constexpr,
    HARD_INTERSECTION: tl.constexpr, HARD_UNION: tl.constexpr,
    PREDICTED_SQUARED: tl.constexpr, ACTUAL_SQUARED: tl.constexpr, COUNTED: tl.constexpr, PRODUCT: tl.constexpr,
    GAMMA: tl.constexpr, IGNORED: tl.constexpr, SOFT: tl.constexpr, SHIFT: tl.constexpr,
    V: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write each sum over `length` positions of a mask into (K, B, C, programs per mask).

    A target other than 0 and 1, or outside [0, 1] if it is a float, makes the sums NaN and sets `found`.
    """
    DTYPE: tl.constexpr = parts_ptr.dtype.element_ty
    CE: tl.constexpr = CROSS_ENTROPY_POSITIVE >= 0 or CROSS_ENTROPY_NEGATIVE >= 0
    FOCAL: tl.constexpr = FOCAL_POSITIVE >= 0 or FOCAL_NEGATIVE >= 0
    x_first, t_first, low, high = start_of(x_b, x_c, x_l, t_b, t_c, t_l, L, length, SHIFT, V)
    WEIGHTED: tl.constexpr = w_ptr is not None
    COUNTS: tl.constexpr = COUNTED if COUNTED >= 0 else VALID
    BOTH: tl.constexpr = INTERSECTION if INTERSECTION >= 0 else PRODUCT
    if WEIGHTED:
        _, w_first, _, _ = start_of(x_b, x_c, x_l, w_b, w_c, w_l, L, length, SHIFT > 0, V)
        w_ptr += w_first
    x_ptr, t_ptr, gamma, threshold = x_ptr + x_first, t_ptr + t_first, number(gamma, DTYPE), number(threshold, DTYPE)
    zero, none = tl.zeros((BLOCK // V,), DTYPE), tl.zeros((BLOCK // V,), tl.int32)
    overlap, predicted, squared, actual, actual_squared = zero, zero, zero, zero, zero
    ce_positive, ce_negative, focal_positive, focal_negative = zero, zero, zero, zero
    counts, masks, hits, both, valid, product = none, none, none, none, zero, zero
    if WEIGHTED:
        masks, hits, both = zero, zero, zero
    top = none if SOFT else unsigned(none.to(t_ptr.dtype.element_ty))
    for step in range(0, high, BLOCK):
        x, t, counted = read_block(
            x_ptr + step * x_l, t_ptr + step * t_l, x_l, t_l, low - step, high - step, ignored, IGNORED, DTYPE, V, BLOCK
        )
        w = 1
        if WEIGHTED:
            x, t, w, counted = read_weights(
                w_ptr + step * w_l, w_l, low - step, high - step, x, t, counted, DTYPE, V, BLOCK
            )
            valid = _add(valid, VALID, w, V)
        if SOFT:
            mask, ones = t > 0.5, (t > 0.5).to(tl.int32)
            top = tl.maximum(top, largest(tl.where((t >= 0) & (t <= 1), 0, 2), V))
            p, _rest, wrong, positive, negative, log_wrong = soft_sides(x, t)
            focal = weighed(power(wrong, log_wrong, gamma, GAMMA) * (positive + negative), w, WEIGHTED)
            positive, negative = weighed(positive, w, WEIGHTED), weighed(negative, w, WEIGHTED)
            overlap = _add(overlap, INTERSECTION, weighed(tl.minimum(p, t), w, WEIGHTED), V)
            product = _add(product, PRODUCT, weighed(p * t, w, WEIGHTED), V)
            actual = _add(actual, ACTUAL, weighed(t, w, WEIGHTED), V)
            actual_squared = _add(actual_squared, ACTUAL_SQUARED, weighed(t * t, w, WEIGHTED), V)
            focal_positive = _add(focal_positive, FOCAL_POSITIVE, t * focal, V)
            focal_negative = _add(focal_negative, FOCAL_NEGATIVE, (1 - t) * focal, V)
        else:
            top = tl.maximum(top, largest(unsigned(t), V))
            ones, t = t.to(tl.int32), t != 0
            p, wrong, _right, ce, log_wrong = hard_sides(x, t)
            if not (CE or FOCAL):
                p = probability(x)
            ce = weighed(ce, w, WEIGHTED)
            mask, positive, negative = t, tl.where(t, ce, 0), tl.where(t, 0, ce)
            focus = power(wrong, log_wrong, gamma, GAMMA)
            overlap = _add(overlap, BOTH, tl.where(t, weighed(p, w, WEIGHTED), 0), V)
            focal_positive = _add(focal_positive, FOCAL_POSITIVE, focus * positive, V)
            focal_negative = _add(focal_negative, FOCAL_NEGATIVE, focus * negative, V)
        predicted = _add(predicted, PREDICTED, weighed(p, w, WEIGHTED), V)
        squared = _add(squared, PREDICTED_SQUARED, weighed(p * p, w, WEIGHTED), V)
        ce_positive = _add(ce_positive, CROSS_ENTROPY_POSITIVE, positive, V)
        ce_negative = _add(ce_negative, CROSS_ENTROPY_NEGATIVE, negative, V)
        hit = x > threshold
        if WEIGHTED:
            masks, hits = masks + add_up(tl.where(mask, w, 0), V), hits + add_up(tl.where(hit, w, 0), V)
            both += add_up(tl.where(hit & mask, w, 0), V)
        else:
            masks, hits = masks + add_up(ones, V), hits + add_up(hit.to(tl.int32), V)
            both += add_up((hit & mask).to(tl.int32), V)
        if IGNORED or WEIGHTED:
            counts = _add(counts, COUNTS, counted.to(tl.int32), V)
    bad = tl.max(top, 0) > 1
    if bad:
        tl.store(found_ptr, 1)
    programs = tl.num_programs(1).to(tl.int64)
    row = tl.program_id(2).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
    stride = programs * rows
    parts_ptr += row * programs + tl.program_id(1)
    masks, both = tl.sum(masks), tl.sum(both)
    _put(parts_ptr, INTERSECTION, stride, tl.sum(overlap), bad)
    _put(parts_ptr, PREDICTED, stride, tl.sum(predicted), bad)
    _put(parts_ptr, ACTUAL, stride, tl.sum(actual) if SOFT else masks, bad)
    number_counted = tl.sum(counts) if IGNORED or WEIGHTED else high - low
    _put(parts_ptr, VALID, stride, tl.sum(valid) if WEIGHTED else number_counted, bad)
    _put(parts_ptr, COUNTED, stride, number_counted, bad)
    _put(parts_ptr, PRODUCT, stride, tl.sum(product) if SOFT else tl.sum(overlap), bad)
    _put(parts_ptr, CROSS_ENTROPY_POSITIVE, stride, tl.sum(ce_positive), bad)
    _put(parts_ptr, CROSS_ENTROPY_NEGATIVE, stride, tl.sum(ce_negative), bad)
    _put(parts_ptr, FOCAL_POSITIVE, stride, tl.sum(focal_positive), bad)
    _put(parts_ptr, FOCAL_NEGATIVE, stride, tl.sum(focal_negative), bad)
    _put(parts_ptr, HARD_INTERSECTION, stride, both, bad)
    _put(parts_ptr, HARD_UNION, stride, tl.sum(hits) + masks - both, bad)
    _put(parts_ptr, PREDICTED_SQUARED, stride, tl.sum(squared), bad)
    _put(parts_ptr, ACTUAL_SQUARED, stride, tl.sum(actual_squared) if SOFT else masks, bad)


@triton.jit
def _factor(factors_ptr, PLACE: tl.constexpr, stride, scale):
    """Read the factor of one sum; 0 if it is not requested."""
    if PLACE >= 0:
        factor = tl.load(factors_ptr + PLACE * stride) * scale
    else:
        factor = tl.zeros((), scale.dtype)
    return factor


@triton.jit(do_not_specialize=["rows", "gamma", "ignored"])
def sigmoid_gradient(
    x_ptr, t_ptr, factors_ptr, scale_ptr, dx_ptr, x_b, x_c, x_l, t_b, t_c, t_l, dx_b, dx_c, dx_l, L, length, rows,
    gamma, ignored, w_ptr, w_b, w_c, w_l,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, CROSS_ENTROPY_NEGATIVE: tl.constexpr,
    FOCAL_POSITIVE: tl.constexpr, FOCAL_NEGATIVE: tl.constexpr, PREDICTED_SQUARED: tl.constexpr, PRODUCT: tl.constexpr,
    GAMMA: tl.constexpr, IGNORED: tl.constexpr, SOFT: tl.constexpr, SHIFT: tl.constexpr,
    V: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient to `length` logits of a mask, from the factor of each sum, (K, B, C), times the scale."""
    DTYPE: tl.constexpr = factors_ptr.dtype.element_ty
    CE: tl.constexpr = CROSS_ENTROPY_POSITIVE >= 0 or CROSS_ENTROPY_NEGATIVE >= 0
    FOCAL: tl.constexpr = FOCAL_POSITIVE >= 0 or FOCAL_NEGATIVE >= 0
    x_first, t_first, low, high = start_of(x_b, x_c, x_l, t_b, t_c, t_l, L, length, SHIFT, V)
    dx_first = x_first  # of the same strides, if shifted
    if not SHIFT:
        dx_first, _, _, _ = start_of(dx_b, dx_c, dx_l, t_b, t_c, t_l, L, length, False, V)
    WEIGHTED: tl.constexpr = w_ptr is not None
    if WEIGHTED:
        _, w_first, _, _ = start_of(x_b, x_c, x_l, w_b, w_c, w_l, L, length, SHIFT > 0, V)
        w_ptr += w_first
    x_ptr, t_ptr, dx_ptr, gamma = x_ptr + x_first, t_ptr + t_first, dx_ptr + dx_first, number(gamma, DTYPE)
    factors_ptr += tl.program_id(2).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
    rows = tl.cast(rows, tl.int64)
    scale = tl.full((), 1, DTYPE)
    if scale_ptr is not None:
        scale = tl.load(scale_ptr).to(DTYPE)
    overlap = _factor(factors_ptr, INTERSECTION, rows, scale)
    product = _factor(factors_ptr, PRODUCT, rows, scale)
    if not SOFT:
        overlap += product
    predicted = _factor(factors_ptr, PREDICTED, rows, scale)
    squared = 2 * _factor(factors_ptr, PREDICTED_SQUARED, rows, scale)
    ce_positive = _factor(factors_ptr, CROSS_ENTROPY_POSITIVE, rows, scale)
    ce_negative = _factor(factors_ptr, CROSS_ENTROPY_NEGATIVE, rows, scale)
    focal_positive = _factor(factors_ptr, FOCAL_POSITIVE, rows, scale)
    focal_negative = _factor(factors_ptr, FOCAL_NEGATIVE, rows, scale)
    some = (overlap != 0) | (predicted != 0) | (squared != 0) | (ce_positive != 0) | (ce_negative != 0)
    some = some | (focal_positive != 0) | (focal_negative != 0) | (product != 0)
    lane = tl.max_contiguous(tl.arange(0, BLOCK), V)
    for step in range(0, high, BLOCK):
        dx = tl.zeros((BLOCK,), DTYPE)
        if some:  # a mask whose factors are all 0 is not read
            x, t, counted = read_block(
                x_ptr + step * x_l, t_ptr + step * t_l, x_l, t_l, low - step, high - step, ignored,
                IGNORED, DTYPE, V, BLOCK,
            )  # fmt: skip
            w = 1
            if WEIGHTED:
                x, t, w, counted = read_weights(
                    w_ptr + step * w_l, w_l, low - step, high - step, x, t, counted, DTYPE, V, BLOCK
                )
            if SOFT:
                p, rest, wrong, positive, negative, log_wrong = soft_sides(x, t)
                slope = tl.where(p < t, 1.0, tl.where(p == t, 0.5, 0.0))  # of min(p, t); at a tie as in torch.minimum
                slope = overlap * slope + predicted + squared * p
                if PRODUCT >= 0:
                    slope += product * t
                dx = slope * p * rest
                dx += ce_negative * (1 - t) * p - ce_positive * t * rest
                if FOCAL:
                    weight = power(wrong, log_wrong, gamma, GAMMA)
                    change = gamma * p * rest * (1 - 2 * t) / tl.maximum(wrong, TINY)  # of log(weight)
                    error = p * (1 - t) - rest * t  # p - t, which would round
                    dx += (
                        (focal_positive * t + focal_negative * (1 - t))
                        * weight
                        * (change * (positive + negative) + error)
                    )
            else:
                t = t != 0
                p, wrong, right, ce, log_wrong = hard_sides(x, t)
                dx = tl.where(t, overlap + predicted, predicted) * right
                if PREDICTED_SQUARED >= 0:
                    dx += squared * p * right
                if CE:
                    dx += tl.where(t, -ce_positive, ce_negative)
                dx *= wrong
                if FOCAL:
                    weight = power(wrong, log_wrong, gamma, GAMMA)
                    dx += tl.where(t, -focal_positive, focal_negative) * weight * (gamma * right * ce + wrong)
            if IGNORED or WEIGHTED:
                dx = tl.where(counted, weighed(dx, w, WEIGHTED), 0)
        to = dx_ptr + (step + lane) * dx_l
        if (low <= step) & (high - step >= BLOCK):
            tl.store(to, dx.to(dx_ptr.dtype.element_ty))
        else:
            tl.store(to, dx.to(dx_ptr.dtype.element_ty), mask=(lane >= low - step) & (lane < high - step))
