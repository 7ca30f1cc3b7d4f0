# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""The gradient of the sums of classes on a GPU; `triton_softmax_sums` explains the programs and the constants."""

import triton
import triton.language as tl

from lossreg_segmentation.statistics.triton_masks import weighed
from lossreg_segmentation.statistics.triton_math import TINY, exp_of, number, power
from lossreg_segmentation.statistics.triton_pixels import (
    LEAST,
    along,
    are_inside,
    classes,
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
)


@triton.jit
def _factor(ptr, PLACE: tl.constexpr, rows, one, scale, c, C, W: tl.constexpr):
    """Read the factor of one sum for each class, (C_TILE, W), in all threads that have it; 0 if not requested."""
    if PLACE >= 0:
        pointers = tl.broadcast_to(ptr + PLACE * rows + c * one, (c.shape[0], W))
        mask = tl.broadcast_to(c < C, (c.shape[0], W))
        factor = tl.load(tl.max_contiguous(pointers, (1, W)), mask=mask, other=0) * scale
    else:
        factor = tl.zeros((1, 1), scale.dtype)
    return factor


@triton.jit
def _of_pixels(factor, V: tl.constexpr):
    """Return the factors of a tile's places, from those of its threads."""
    C_TILE: tl.constexpr = factor.shape[0]
    W: tl.constexpr = factor.shape[1]
    return tl.reshape(tl.broadcast_to(factor[:, :, None], (C_TILE, W, V)), (C_TILE, W * V)) if W > 1 else factor


@triton.jit
def _factors(
    ptr, rows, one, scale, c, C,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, FOCAL_POSITIVE: tl.constexpr,
    PREDICTED_SQUARED: tl.constexpr, CROSS_ENTROPY_UNIFORM: tl.constexpr, PRODUCT: tl.constexpr,
    SOFT: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Read the factors of all sums for each class of a tile, and 1 if one of them is not 0."""
    overlap = _factor(ptr, INTERSECTION, rows, one, scale, c, C, W)
    predicted = _factor(ptr, PREDICTED, rows, one, scale, c, C, W)
    ce = _factor(ptr, CROSS_ENTROPY_POSITIVE, rows, one, scale, c, C, W)
    focal = _factor(ptr, FOCAL_POSITIVE, rows, one, scale, c, C, W)
    squares = 2 * _factor(ptr, PREDICTED_SQUARED, rows, one, scale, c, C, W)
    uniform = _factor(ptr, CROSS_ENTROPY_UNIFORM, rows, one, scale, c, C, W)
    product = _factor(ptr, PRODUCT, rows, one, scale, c, C, W)
    if not SOFT:
        overlap += product  # p t is the intersection
    some = (overlap != 0) | (predicted != 0) | (ce != 0) | (focal != 0) | (squares != 0) | (uniform != 0)
    some = some | (product != 0)
    return overlap, product, predicted, ce, focal, squares, uniform, tl.max(tl.max(some.to(tl.int32), 1), 0)


@triton.jit
def _focal_slope(p, rest, nll, gamma, GAMMA: tl.constexpr):
    """Return the slope of (1 - p)^gamma log(p) in log(p)."""
    if GAMMA is None:
        floor = tl.maximum(rest, TINY)
        slope = power(rest, tl.log(floor), gamma, GAMMA) * (1 + gamma * p * nll / floor)
    elif GAMMA == 0:
        slope = tl.full(p.shape, 1, p.dtype)
    elif GAMMA == 1:
        slope = rest + p * nll
    else:
        slope = rest * (rest + 2 * p * nll)
    return slope


@triton.jit
def _slopes(
    overlap, product, predicted, ce, focal, squares, uniform, t, p, p_t, rest, nll, gamma,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr, FOCAL_POSITIVE: tl.constexpr,
    PREDICTED_SQUARED: tl.constexpr, CROSS_ENTROPY_UNIFORM: tl.constexpr, PRODUCT: tl.constexpr,
    GAMMA: tl.constexpr, SOFT: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """Return the slopes of all sums in each log(p) of a tile, as if the classes did not depend on each other."""
    slope = -_of_pixels(ce, V)
    if FOCAL_POSITIVE >= 0:
        slope -= _of_pixels(focal, V) * _focal_slope(p_t, rest, nll, gamma, GAMMA)
    if (INTERSECTION >= 0 or PRODUCT >= 0) and not SOFT:
        slope += _of_pixels(overlap, V) * p_t
    slope = t * slope
    if INTERSECTION >= 0 and SOFT:  # of min(p, t); at a tie as in torch.minimum
        slope += _of_pixels(overlap, V) * p_t * tl.where(p_t < t, 1.0, tl.where(p_t == t, 0.5, 0.0))
    if PRODUCT >= 0 and SOFT:
        slope += _of_pixels(product, V) * (p_t * t)
    if PREDICTED >= 0:
        slope += _of_pixels(predicted, V) * p
    if PREDICTED_SQUARED >= 0:
        slope += _of_pixels(squares, V) * (p * p)
    if CROSS_ENTROPY_UNIFORM >= 0:
        slope -= _of_pixels(uniform, V)
    return slope


@triton.jit(do_not_specialize=["x_b", "x_c", "x_l", "t_b", "t_c", "t_l", "one", "C", "L", "gamma", "ignored", "steps"])
def softmax_gradient(
    x_ptr, t_ptr, factors_ptr, scale_ptr, dx_ptr, x_b, x_c, x_l, t_b, t_c, t_l, one, C, L, gamma, ignored, steps,
    w_ptr,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, FOCAL_POSITIVE: tl.constexpr,
    PREDICTED_SQUARED: tl.constexpr, CROSS_ENTROPY_UNIFORM: tl.constexpr, PRODUCT: tl.constexpr,
    GAMMA: tl.constexpr, IGNORED: tl.constexpr, SOFT: tl.constexpr, INDEX: tl.constexpr, WIDE: tl.constexpr,
    CHUNKS: tl.constexpr, C_TILE: tl.constexpr, V: tl.constexpr, LANES: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Write the gradient to the logits of `steps` blocks, from the factor of each sum, (K, B, C), times the scale."""
    DTYPE: tl.constexpr = factors_ptr.dtype.element_ty
    batch, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    x_b, x_c, t_b, t_c, L = multiple(x_b, V), multiple(x_c, V), multiple(t_b, V), multiple(t_c, V), multiple(L, V)
    x_ptr, t_ptr, dx_ptr = x_ptr + batch * x_b, t_ptr + batch * t_b, dx_ptr + batch * x_b
    WEIGHTED: tl.constexpr = w_ptr is not None
    if WEIGHTED:
        w_ptr += batch * L
    rows = tl.num_programs(0).to(tl.int64) * C
    factors_ptr += batch * C
    pixel, gamma = pixels(V, W, WIDE), number(gamma, DTYPE)
    by = tl.full((), 1, DTYPE)
    if scale_ptr is not None:
        by = tl.load(scale_ptr).to(DTYPE)
    c = classes(0, C_TILE, WIDE)
    overlap, product, predicted, ce, focal, squares, uniform, used = _factors(
        factors_ptr, rows, one, by, c, C, INTERSECTION, PREDICTED, CROSS_ENTROPY_POSITIVE, FOCAL_POSITIVE,
        PREDICTED_SQUARED, CROSS_ENTROPY_UNIFORM, PRODUCT, SOFT, W,
    )  # fmt: skip
    for chunk in range(1, CHUNKS):
        _, _, _, _, _, _, _, more = _factors(
            factors_ptr, rows, one, by, classes(chunk, C_TILE, WIDE), C, INTERSECTION, PREDICTED,
            CROSS_ENTROPY_POSITIVE, FOCAL_POSITIVE, PREDICTED_SQUARED, CROSS_ENTROPY_UNIFORM, PRODUCT, SOFT, W,
        )  # fmt: skip
        used |= more
    # A name keeps its type in a loop, so values without a use have names of their own.
    for step in range(steps):
        first = (part * steps + step).to(tl.int64) * (V * W)
        left = tl.minimum(L - first, V * W).to(tl.int32)
        inside = are_inside(left, V, W)
        x_at, t_at, dx_at = x_ptr + first * x_l, t_ptr + first * t_l, dx_ptr + first * x_l
        read = are_inside(left * used, V, W)  # without any factor, no logit is read
        w = 1
        if WEIGHTED:
            w = read_pixels(w_ptr + first, one, pixel, read, V, LANES, W)
            read = read & (w != 0)
        index, counted = pixel, read
        if INDEX:
            index, counted, _bad = read_indices(t_at, t_l, C, pixel, read, ignored, IGNORED, WIDE, V, LANES, W)
        if CHUNKS == 1:
            if not INDEX:
                t, counted, _bad = read_targets(t_at, t_c, t_l, c, C, pixel, read, ignored, IGNORED, SOFT, DTYPE, V, W)
            x = read_logits(x_at, x_c, x_l, c, C, pixel, read, counted, IGNORED, DTYPE, V, W)
            largest, others, e = softmax_of(x)
            own = largest
            if INDEX:
                own = own_logits(x, index, c)
        else:
            largest, others, _likeliest, own, counted = softmax_of_chunks(
                x_at, t_at, x_c, x_l, t_c, t_l, C, pixel, read, index, counted, ignored, DTYPE,
                IGNORED, SOFT, INDEX, WIDE, CHUNKS, C_TILE, V, W,
            )  # fmt: skip
        scale = inverse_total(others, counted)
        # A likeliest class with p > 1/2 is apart: its 1 - p and the slopes of the others are no differences.
        beside, alone = tl.zeros_like(scale), tl.zeros_like(scale)
        for turn in tl.static_range(2):
            for chunk in range(CHUNKS):
                if CHUNKS > 1:
                    c = classes(chunk, C_TILE, WIDE)
                    x = read_logits(x_at, x_c, x_l, c, C, pixel, read, counted, IGNORED, DTYPE, V, W)
                    e = tl.where(counted, exp_of(x - largest), 0)
                    overlap, product, predicted, ce, focal, squares, uniform, more = _factors(
                        factors_ptr, rows, one, by, c, C, INTERSECTION, PREDICTED, CROSS_ENTROPY_POSITIVE,
                        FOCAL_POSITIVE, PREDICTED_SQUARED, CROSS_ENTROPY_UNIFORM, PRODUCT, SOFT, W,
                    )  # fmt: skip
                    if not INDEX:
                        t, _here, _bad = read_targets(
                            t_at, t_c, t_l, c, C, pixel, read, ignored, IGNORED, SOFT, DTYPE, V, W
                        )
                if INDEX:
                    t = (index == c).to(DTYPE)
                p_t, rest, nll = of_target(x, own, index, e, largest, others, scale, INDEX)
                nll = tl.minimum(nll, -LEAST)  # 0 times infinity would be NaN
                slope = _slopes(
                    overlap, product, predicted, ce, focal, squares, uniform, t, e * scale, p_t, rest, nll, gamma,
                    INTERSECTION, PREDICTED, FOCAL_POSITIVE, PREDICTED_SQUARED, CROSS_ENTROPY_UNIFORM, PRODUCT,
                    GAMMA, SOFT, V,
                )  # fmt: skip
                if turn == 0:
                    likely = e == tl.where(others < 1, 1.0, 2.0)
                    beside += tl.sum(tl.where(likely, 0, slope), 0)[None, :]
                    alone += tl.sum(tl.where(likely, slope, 0), 0)[None, :]
                else:
                    dx = slope - e * (scale * (alone + beside))
                    likely = e * scale == tl.where(others < 1, scale, 2.0)
                    dx = tl.where(likely, (others * alone - beside) * scale, dx)
                    if IGNORED or WEIGHTED:
                        dx = tl.where(counted, weighed(dx, w, WEIGHTED), 0)
                    to = along(dx_at + c * x_c, x_l, pixel, V, W)
                    tl.store(to, dx.to(dx_ptr.dtype.element_ty), mask=(c < C) & inside)
