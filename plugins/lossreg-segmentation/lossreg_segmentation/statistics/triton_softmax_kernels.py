# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""The sums of classes under a softmax and their gradient on a GPU. `triton_kernels` explains the constants."""

import triton
import triton.language as tl

from lossreg_segmentation.statistics.triton_kernels import (
    TINY,
    counted_target,
    incoming,
    log1p,
    overlap_of,
    overlap_slope,
    power_of,
)


@triton.jit
def _read_pixels(
    x_ptr, t_ptr, batch, first, C, L,
    IGNORE: tl.constexpr, INDEX: tl.constexpr, DTYPE: tl.constexpr, C_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Read BLOCK pixels of all classes, (C_PADDED, BLOCK): logits, target, and a mask of the valid positions.

    Logits are 0 where not valid and -inf in the padding classes.
    """
    c, lane = tl.arange(0, C_PADDED)[:, None], tl.arange(0, BLOCK)[None, :]
    real, inside = c < C, lane < tl.minimum(L - first, BLOCK).to(tl.int32)
    offset = (batch * C + c) * L + first + lane
    if INDEX:
        index = tl.load(t_ptr + batch * L + first + lane, mask=inside, other=0)
        index, valid = counted_target(index, inside, IGNORE, DTYPE)
        t = index == c
    else:
        t, valid = counted_target(tl.load(t_ptr + offset, mask=real & inside, other=0), real & inside, IGNORE, DTYPE)
        ignored = (real & inside & (valid == 0)).to(tl.int32)
        valid = inside & (tl.max(ignored, 0)[None, :] == 0)  # one ignored class ignores the pixel
    x = tl.load(x_ptr + offset, mask=real & inside, other=0).to(DTYPE)
    return tl.where(real, tl.where(valid, x, 0), float("-inf")), t.to(DTYPE), real & valid


@triton.jit
def _softmax(x, C_PADDED: tl.constexpr):
    """Return log(p), p, 1 - p and True for the first largest p; none is computed as a difference of near numbers."""
    c = tl.arange(0, C_PADDED)[:, None]
    largest = tl.max(x, 0)[None, :]
    top = c == tl.min(tl.where(x == largest, c, C_PADDED), 0)[None, :]
    e = tl.exp(x - largest)
    others = tl.sum(tl.where(top, 0, e), 0)[None, :]
    total = 1 + others
    scale = 1 / total
    tail = tl.where(others < 1, log1p(tl.minimum(others, 1)), tl.log(total))
    # Finite in padding classes: 0 * -inf would be NaN.
    log_p = tl.where(x > float("-inf"), x - largest, 0) - tail
    return log_p, e * scale, tl.where(top, others, total - e) * scale, top


@triton.jit
def _add(sums, PLACE: tl.constexpr, value, counted):
    """Add a sum over the pixels, if it is requested."""
    if PLACE >= 0:
        sums += tl.sum(tl.where(counted, value, 0), 1)
    return sums


@triton.jit
def _put_classes(sums_ptr, PLACE: tl.constexpr, stride, sums, mask):
    if PLACE >= 0:
        tl.store(sums_ptr + PLACE * stride, sums, mask=mask)


@triton.jit
def softmax_sums(
    x_ptr, t_ptr, sums_ptr, C, L, rows, tiles, steps,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr, ACTUAL: tl.constexpr, VALID: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, FOCAL_POSITIVE: tl.constexpr,
    HARD_INTERSECTION: tl.constexpr, HARD_UNION: tl.constexpr,
    PREDICTED_SQUARED: tl.constexpr, ACTUAL_SQUARED: tl.constexpr, CROSS_ENTROPY_UNIFORM: tl.constexpr,
    GAMMA: tl.constexpr, IGNORE: tl.constexpr, SOFT: tl.constexpr, INDEX: tl.constexpr,
    C_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the sums of each class over `steps` blocks of pixels of one example into (K, rows, tiles)."""
    DTYPE: tl.constexpr = sums_ptr.dtype.element_ty
    batch, tile = (tl.program_id(0) // tiles).to(tl.int64), (tl.program_id(0) % tiles).to(tl.int64)
    zero = tl.zeros((C_PADDED,), DTYPE)
    overlap, predicted, actual, count, ce, focal, hits, union = zero, zero, zero, zero, zero, zero, zero, zero
    predicted_squared, actual_squared, uniform = zero, zero, zero
    for step in range(steps):
        first = (tile * steps + step) * BLOCK
        x, t, counted = _read_pixels(x_ptr, t_ptr, batch, first, C, L, IGNORE, INDEX, DTYPE, C_PADDED, BLOCK)
        log_p, p, rest, top = _softmax(x, C_PADDED)
        weight = power_of(rest, tl.log(tl.maximum(rest, TINY)), GAMMA)
        overlap = _add(overlap, INTERSECTION, overlap_of(p, t, SOFT), counted)
        predicted = _add(predicted, PREDICTED, p, counted)
        actual = _add(actual, ACTUAL, t, counted)
        count = _add(count, VALID, tl.full(t.shape, 1, DTYPE), counted)
        ce = _add(ce, CROSS_ENTROPY_POSITIVE, -t * log_p, counted)
        focal = _add(focal, FOCAL_POSITIVE, -t * weight * log_p, counted)
        hits = _add(hits, HARD_INTERSECTION, (top & (t > 0.5)).to(DTYPE), counted)
        union = _add(union, HARD_UNION, (top | (t > 0.5)).to(DTYPE), counted)
        predicted_squared = _add(predicted_squared, PREDICTED_SQUARED, p * p, counted)
        actual_squared = _add(actual_squared, ACTUAL_SQUARED, t * t, counted)
        uniform = _add(uniform, CROSS_ENTROPY_UNIFORM, -log_p, counted)
    c, stride = tl.arange(0, C_PADDED), tl.cast(rows, tl.int64) * tiles
    sums_ptr, real = sums_ptr + (batch * C + c) * tiles + tile, c < C
    _put_classes(sums_ptr, INTERSECTION, stride, overlap, real)
    _put_classes(sums_ptr, PREDICTED, stride, predicted, real)
    _put_classes(sums_ptr, ACTUAL, stride, actual, real)
    _put_classes(sums_ptr, VALID, stride, count, real)
    _put_classes(sums_ptr, CROSS_ENTROPY_POSITIVE, stride, ce, real)
    _put_classes(sums_ptr, FOCAL_POSITIVE, stride, focal, real)
    _put_classes(sums_ptr, HARD_INTERSECTION, stride, hits, real)
    _put_classes(sums_ptr, HARD_UNION, stride, union, real)
    _put_classes(sums_ptr, PREDICTED_SQUARED, stride, predicted_squared, real)
    _put_classes(sums_ptr, ACTUAL_SQUARED, stride, actual_squared, real)
    _put_classes(sums_ptr, CROSS_ENTROPY_UNIFORM, stride, uniform, real)


@triton.jit
def softmax_gradient(
    x_ptr, t_ptr, grads_ptr, dx_ptr, C, L, rows, tiles,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, FOCAL_POSITIVE: tl.constexpr,
    PREDICTED_SQUARED: tl.constexpr, CROSS_ENTROPY_UNIFORM: tl.constexpr,
    GAMMA: tl.constexpr, IGNORE: tl.constexpr, SOFT: tl.constexpr, INDEX: tl.constexpr,
    C_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient to the logits of BLOCK pixels of one example, from the gradients of its sums, (K, rows)."""
    DTYPE: tl.constexpr = grads_ptr.dtype.element_ty
    program = tl.program_id(0)
    batch, first = (program // tiles).to(tl.int64), (program % tiles).to(tl.int64) * BLOCK
    c, lane = tl.arange(0, C_PADDED)[:, None], tl.arange(0, BLOCK)[None, :]
    real, inside = c < C, lane < tl.minimum(L - first, BLOCK).to(tl.int32)
    grads_ptr += batch * C + c
    overlap = incoming(grads_ptr, INTERSECTION, rows, real)
    predicted = incoming(grads_ptr, PREDICTED, rows, real)
    ce = incoming(grads_ptr, CROSS_ENTROPY_POSITIVE, rows, real)
    focal = incoming(grads_ptr, FOCAL_POSITIVE, rows, real)
    squared = incoming(grads_ptr, PREDICTED_SQUARED, rows, real)
    uniform = incoming(grads_ptr, CROSS_ENTROPY_UNIFORM, rows, real)
    some = (overlap != 0) | (predicted != 0) | (ce != 0) | (focal != 0) | (squared != 0) | (uniform != 0)
    dx = tl.zeros((C_PADDED, BLOCK), DTYPE)
    # An example whose gradients are all 0 is not read.
    if tl.max(tl.max(some.to(tl.int32), 0), 0) > 0:
        x, t, counted = _read_pixels(x_ptr, t_ptr, batch, first, C, L, IGNORE, INDEX, DTYPE, C_PADDED, BLOCK)
        log_p, p, rest, top = _softmax(x, C_PADDED)
        by_p, by_log_p = dx, dx
        if INTERSECTION >= 0:
            by_p += overlap * overlap_slope(p, t, SOFT)
        if PREDICTED >= 0:
            by_p += predicted
        if PREDICTED_SQUARED >= 0:
            by_p += squared * 2 * p
        if CROSS_ENTROPY_POSITIVE >= 0:
            by_log_p -= ce * t
        if CROSS_ENTROPY_UNIFORM >= 0:
            by_log_p -= uniform
        if FOCAL_POSITIVE >= 0:
            floor = tl.maximum(rest, TINY)
            by_log_p -= focal * t * power_of(rest, tl.log(floor), GAMMA) * (1 - GAMMA * p * log_p / floor)
        own = p * by_p + by_log_p
        # The sum over the other classes. For the likeliest class it is not a difference, which would cancel.
        others = tl.sum(tl.where(top, 0, own), 0)[None, :]
        others = tl.where(top, others, tl.sum(own, 0)[None, :] - own)
        dx = tl.where(counted, rest * own - p * others, 0)
    tl.store(dx_ptr + (batch * C + c) * L + first + lane, dx.to(dx_ptr.dtype.element_ty), mask=real & inside)
