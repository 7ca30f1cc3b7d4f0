# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""The sums of classes under a softmax on a GPU; `triton_pixels` explains the tiles.

A program is one warp, and has `steps` blocks of V W pixels of one example. Few classes are one tile, read once. More
are CHUNKS tiles, one after another: first for the softmax of the pixels, then again for the sums. A constant named like
a statistic, for example INTERSECTION, is its place in the stack of sums, -1 if it is not requested.
"""

import triton
import triton.language as tl

from lossreg_segmentation.statistics.triton_masks import weighed
from lossreg_segmentation.statistics.triton_math import TINY, exp_of, number, power
from lossreg_segmentation.statistics.triton_pixels import (
    are_inside,
    classes,
    first_largest,
    inverse_total,
    multiple,
    of_target,
    own_logits,
    pixels,
    read_indices,
    read_logits,
    read_pixels,
    read_targets,
    softmax_of,
    softmax_of_chunks,
    tail_of,
)


@triton.jit
def _over_thread(values, V: tl.constexpr):
    """Add up the pixels of each thread."""
    return tl.sum(tl.reshape(values, (values.shape[0], values.shape[1] // V, V)), 2)


@triton.jit
def _put(ptr, PLACE: tl.constexpr, stride, sums, mask, bad):
    """Store a requested sum of each class."""
    if PLACE >= 0:
        tl.store(ptr + PLACE * stride, tl.where(bad, float("nan"), tl.sum(sums, 1)), mask=mask)


@triton.jit(do_not_specialize=["x_b", "x_c", "x_l", "t_b", "t_c", "t_l", "one", "C", "L", "gamma", "ignored", "steps"])
def softmax_sums(
    x_ptr, t_ptr, parts_ptr, softmax_ptr, found_ptr, x_b, x_c, x_l, t_b, t_c, t_l, one, C, L, gamma, ignored, steps,
    w_ptr,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr, ACTUAL: tl.constexpr, VALID: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, FOCAL_POSITIVE: tl.constexpr,
    HARD_INTERSECTION: tl.constexpr, HARD_UNION: tl.constexpr,
    PREDICTED_SQUARED: tl.constexpr, ACTUAL_SQUARED: tl.constexpr, CROSS_ENTROPY_UNIFORM: tl.constexpr,
    COUNTED: tl.constexpr, PRODUCT: tl.constexpr,
    GAMMA: tl.constexpr, IGNORED: tl.constexpr, SOFT: tl.constexpr, INDEX: tl.constexpr, WIDE: tl.constexpr,
    CHUNKS: tl.constexpr, C_TILE: tl.constexpr, V: tl.constexpr, LANES: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Write the sums of each class over `steps` blocks of pixels into (K, B, C, parts); NaN if a target is wrong.

    The weights (B, L), if there are any, are contiguous. A pixel of weight 0 is as one beyond the end.
    """
    WEIGHTED: tl.constexpr = w_ptr is not None
    DTYPE: tl.constexpr = parts_ptr.dtype.element_ty
    batch, part, parts = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    x_b, x_c, t_b, t_c, L = multiple(x_b, V), multiple(x_c, V), multiple(t_b, V), multiple(t_c, V), multiple(L, V)
    x_ptr, t_ptr = x_ptr + batch * x_b, t_ptr + batch * t_b
    pixel, gamma = pixels(V, W, WIDE), number(gamma, DTYPE)
    if WEIGHTED:
        w_ptr += batch * L
    if CHUNKS > 1:
        softmax_ptr += batch * 4 * L
        for step in range(steps):
            first = (part * steps + step).to(tl.int64) * (V * W)
            inside = are_inside(tl.minimum(L - first, V * W).to(tl.int32), V, W)
            if WEIGHTED:
                inside = inside & (read_pixels(w_ptr + first, one, pixel, inside, V, LANES, W) != 0)
            x_at, t_at, index, counted = x_ptr + first * x_l, t_ptr + first * t_l, pixel, inside
            if INDEX:
                index, counted, _ = read_indices(t_at, t_l, C, pixel, inside, ignored, IGNORED, WIDE, V, LANES, W)
            largest, others, likeliest, own, counted = softmax_of_chunks(
                x_at, t_at, x_c, x_l, t_c, t_l, C, pixel, inside, index, counted, ignored, DTYPE,
                IGNORED, SOFT, INDEX, WIDE, CHUNKS, C_TILE, V, W,
            )  # fmt: skip
            at = softmax_ptr + first + pixel
            tl.store(at, largest, mask=inside)
            tl.store(at + L, tl.where(counted, others, -1), mask=inside)
            tl.store(at + 2 * L, likeliest.to(DTYPE), mask=inside)
            tl.store(at + 3 * L, own, mask=inside)
        tl.debug_barrier()  # other threads of the warp read them
    zero = tl.zeros((C_TILE, W), DTYPE)
    for chunk in range(CHUNKS):
        overlap, predicted, actual, ce, focal = zero, zero, zero, zero, zero
        hits, union, squares, actual_squares, uniform = zero, zero, zero, zero, zero
        product, count, mass = zero, tl.zeros((1, W), DTYPE), tl.zeros((1, W), DTYPE)
        wrong = tl.zeros((1 if INDEX else C_TILE, W), tl.int32)
        c = classes(chunk, C_TILE, WIDE)
        for step in range(steps):
            first = (part * steps + step).to(tl.int64) * (V * W)
            x_at, t_at, index = x_ptr + first * x_l, t_ptr + first * t_l, pixel
            inside = are_inside(tl.minimum(L - first, V * W).to(tl.int32), V, W)
            w = 1
            if WEIGHTED:
                w = read_pixels(w_ptr + first, one, pixel, inside, V, LANES, W)
                inside = inside & (w != 0)
            if INDEX:
                index, counted, bad = read_indices(t_at, t_l, C, pixel, inside, ignored, IGNORED, WIDE, V, LANES, W)
                t = (index == c).to(DTYPE)
            else:
                t, counted, bad = read_targets(t_at, t_c, t_l, c, C, pixel, inside, ignored, IGNORED, SOFT, DTYPE, V, W)
            if CHUNKS > 1:
                at = softmax_ptr + first
                largest = read_pixels(at, one, pixel, inside, V, LANES, W)
                others = read_pixels(at + L, one, pixel, inside, V, LANES, W)
                counted = inside & ((others < 0) == 0)  # a NaN counts
                others, t, bad = tl.where(counted, others, 0), tl.where(counted, t, 0), bad & counted
                x = read_logits(x_at, x_c, x_l, c, C, pixel, inside, counted, IGNORED, DTYPE, V, W)
                e = tl.where(counted, exp_of(x - largest), 0)
                own = largest
                if INDEX:
                    own = read_pixels(at + 3 * L, one, pixel, inside, V, LANES, W)
            else:
                x = read_logits(x_at, x_c, x_l, c, C, pixel, inside, counted, IGNORED, DTYPE, V, W)
                largest, others, e = softmax_of(x)
                own = largest
                if INDEX:
                    own = own_logits(x, index, c)
            scale = inverse_total(others, counted)
            p = e * scale
            predicted += _over_thread(weighed(p, w, WEIGHTED), V)
            squares += _over_thread(weighed(p * p, w, WEIGHTED), V)
            if CROSS_ENTROPY_UNIFORM >= 0:
                loss = tl.where(counted, tail_of(others) - (x - largest), 0)
                uniform += _over_thread(weighed(loss, w, WEIGHTED), V)
            if HARD_INTERSECTION >= 0 or HARD_UNION >= 0:
                if CHUNKS > 1:
                    top = read_pixels(at + 2 * L, one, pixel, inside, V, LANES, W).to(tl.int32) == c
                else:
                    top = first_largest(x, largest, c) == c
                hits += _over_thread(weighed((top & (t > 0.5)).to(DTYPE), w, WEIGHTED), V)
                union += _over_thread(weighed(((top & counted) | (t > 0.5)).to(DTYPE), w, WEIGHTED), V)
            p_t, rest, nll = of_target(x, own, index, e, largest, others, scale, INDEX)
            overlap += _over_thread(weighed(tl.minimum(p_t, t) if SOFT else p_t * t, w, WEIGHTED), V)
            product += _over_thread(weighed(p_t * t, w, WEIGHTED), V)
            # The loss of a class that a logit of -inf excludes is infinite: 0 times it would be NaN.
            nll = weighed(tl.where(t > 0, nll, 0), w, WEIGHTED)
            ce += _over_thread(t * nll, V)
            if FOCAL_POSITIVE >= 0:
                focal += _over_thread(t * (nll * power(rest, tl.log(tl.maximum(rest, TINY)), gamma, GAMMA)), V)
            actual += _over_thread(weighed(t, w, WEIGHTED), V)
            actual_squares += _over_thread(weighed(t * t, w, WEIGHTED), V)
            if WEIGHTED:
                mass += _over_thread(tl.where(counted, w, 0), V)
            count += _over_thread(counted.to(DTYPE), V)
            wrong += _over_thread(bad.to(tl.int32), V)
        bad = tl.max(tl.max(wrong, 1), 0) > 0
        if bad:
            tl.store(found_ptr, 1)
        c = chunk * C_TILE + tl.arange(0, C_TILE)
        to, stride, real = (
            parts_ptr + (batch * C + c) * parts + part,
            tl.num_programs(0).to(tl.int64) * C * parts,
            c < C,
        )
        _put(to, INTERSECTION, stride, overlap, real, bad)
        _put(to, PREDICTED, stride, predicted, real, bad)
        _put(to, ACTUAL, stride, actual, real, bad)
        _put(to, VALID, stride, tl.broadcast_to(mass if WEIGHTED else count, (C_TILE, W)), real, bad)
        _put(to, COUNTED, stride, tl.broadcast_to(count, (C_TILE, W)), real, bad)
        _put(to, PRODUCT, stride, product, real, bad)
        _put(to, CROSS_ENTROPY_POSITIVE, stride, ce, real, bad)
        _put(to, FOCAL_POSITIVE, stride, focal, real, bad)
        _put(to, HARD_INTERSECTION, stride, hits, real, bad)
        _put(to, HARD_UNION, stride, union, real, bad)
        _put(to, PREDICTED_SQUARED, stride, squares, real, bad)
        _put(to, ACTUAL_SQUARED, stride, actual_squares, real, bad)
        _put(to, CROSS_ENTROPY_UNIFORM, stride, uniform, real, bad)
