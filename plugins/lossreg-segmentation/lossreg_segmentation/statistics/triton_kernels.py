# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""The sums of independent masks and their gradient on a GPU, and functions shared with the kernels for classes.

A constant named like a statistic, for example INTERSECTION, is its place in the stack of sums, -1 if it is not
requested. Kernels compute in float32, or in float64 if the sums are float64.
"""

import triton
import triton.language as tl

# Lower bound of denominators and logarithms' arguments; where it applies, the numerator or the other factor is 0.
TINY = tl.constexpr(1e-37)


@triton.jit
def log1p(e):
    """Return log(1 + e) for 0 <= e <= 1, to full relative precision: twice the series of artanh(e / (2 + e))."""
    # s <= 1/3: every term adds 3.2 bits.
    TERMS: tl.constexpr = 17 if e.dtype == tl.float64 else 7
    s = e / (2 + e)
    square = s * s
    series = tl.zeros_like(s)
    for k in tl.static_range(TERMS):
        series = series * square + 1.0 / (2 * (TERMS - k) - 1)
    return 2 * s * series


@triton.jit
def power_of(base, log_base, GAMMA: tl.constexpr):
    """Return base^gamma. A pow would be slower, because it handles cases that do not occur."""
    if GAMMA == 0:
        power = tl.full(base.shape, 1, base.dtype)
    elif GAMMA == 1:
        power = base
    elif GAMMA == 2:
        power = base * base
    else:
        power = tl.exp(GAMMA * log_base)
    return power


@triton.jit
def counted_target(t, inside, IGNORE: tl.constexpr, DTYPE: tl.constexpr):
    """Return the target as a number, 0 where it is not valid, and a mask of the valid positions."""
    if t.dtype.is_floating():
        t = t.to(DTYPE)
    elif t.dtype.primitive_bitwidth < 32:
        t = t.to(tl.int32)  # can be compared with any ignore_index
    valid = inside
    if IGNORE is not None:
        valid = inside & (t != IGNORE)
    return tl.where(valid, t, 0), valid


@triton.jit
def overlap_of(p, t, SOFT: tl.constexpr):
    """Return the overlap of input and target at each position."""
    return tl.minimum(p, t) if SOFT else p * t


@triton.jit
def overlap_slope(p, t, SOFT: tl.constexpr):
    """Return the slope of the overlap in p. At a tie it is 1/2, like in torch.minimum."""
    return tl.where(p < t, 1.0, tl.where(p == t, 0.5, 0.0)) if SOFT else t


@triton.jit
def _read_mask(x_ptr, t_ptr, row, sharing, first, L, BLOCK: tl.constexpr, IGNORE: tl.constexpr, DTYPE: tl.constexpr):
    """Read BLOCK positions of a mask: logits, 0 where not valid, the target, and a mask of the valid positions."""
    lane = tl.arange(0, BLOCK)
    inside = lane < tl.minimum(L - first, BLOCK).to(tl.int32)
    t = tl.load(t_ptr + row // sharing * L + first + lane, mask=inside, other=0)
    t, valid = counted_target(t, inside, IGNORE, DTYPE)
    x = tl.load(x_ptr + row * L + first + lane, mask=inside, other=0).to(DTYPE)
    # A NaN under an ignored position would survive a product with zero.
    return tl.where(valid, x, 0), t.to(DTYPE), valid


@triton.jit
def _sigmoid(x):
    """Return p, 1 - p and log(1 + exp(-|x|)), none of them computed as a difference."""
    e = tl.exp(-tl.abs(x))
    large = 1 / (1 + e)
    small = e * large
    return tl.where(x >= 0, large, small), tl.where(x >= 0, small, large), log1p(e)


@triton.jit
def _focal(x, t, p, rest, tail, GAMMA: tl.constexpr, SOFT: tl.constexpr):
    """Return the cross-entropy, (1 - p_t)^gamma, and the slope of log(1 - p_t)."""
    up, down = tl.maximum(x, 0) + tail, tl.maximum(-x, 0) + tail  # -log(1 - p) and -log(p)
    wrong = p * (1 - t) + rest * t
    if SOFT:
        log_wrong = tl.log(tl.maximum(wrong, TINY))
        slope = p * rest * (1 - 2 * t) / tl.maximum(wrong, TINY)
    else:
        log_wrong = -(t * up + (1 - t) * down)
        slope = rest * (1 - t) - p * t
    return t * down + (1 - t) * up, power_of(wrong, log_wrong, GAMMA), slope


@triton.jit
def _put(sums_ptr, PLACE: tl.constexpr, stride, value, valid):
    """Store a requested sum. The compiler removes the computation of the others."""
    if PLACE >= 0:
        tl.store(sums_ptr + PLACE * stride, tl.sum(tl.where(valid, value, 0)))


@triton.jit
def sigmoid_sums(
    x_ptr, t_ptr, sums_ptr, sharing, L, tiles,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr, ACTUAL: tl.constexpr, VALID: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, CROSS_ENTROPY_NEGATIVE: tl.constexpr,
    FOCAL_POSITIVE: tl.constexpr, FOCAL_NEGATIVE: tl.constexpr,
    HARD_INTERSECTION: tl.constexpr, HARD_UNION: tl.constexpr,
    PREDICTED_SQUARED: tl.constexpr, ACTUAL_SQUARED: tl.constexpr,
    GAMMA: tl.constexpr, IGNORE: tl.constexpr, THRESHOLD: tl.constexpr, SOFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write one tile's part of each sum into (K, rows, tiles). `sharing` adjacent masks have one target."""
    DTYPE: tl.constexpr = sums_ptr.dtype.element_ty
    program = tl.program_id(0)
    row, first = (program // tiles).to(tl.int64), (program % tiles).to(tl.int64) * BLOCK
    x, t, valid = _read_mask(x_ptr, t_ptr, row, sharing, first, L, BLOCK, IGNORE, DTYPE)
    p, rest, tail = _sigmoid(x)
    sums_ptr, stride = sums_ptr + program, tl.num_programs(0).to(tl.int64)
    _put(sums_ptr, INTERSECTION, stride, overlap_of(p, t, SOFT), valid)
    _put(sums_ptr, PREDICTED, stride, p, valid)
    _put(sums_ptr, ACTUAL, stride, t, valid)
    _put(sums_ptr, VALID, stride, tl.full(t.shape, 1, DTYPE), valid)
    ce, weight, _ = _focal(x, t, p, rest, tail, GAMMA, SOFT)
    _put(sums_ptr, CROSS_ENTROPY_POSITIVE, stride, t * (tl.maximum(-x, 0) + tail), valid)
    _put(sums_ptr, CROSS_ENTROPY_NEGATIVE, stride, (1 - t) * (tl.maximum(x, 0) + tail), valid)
    _put(sums_ptr, FOCAL_POSITIVE, stride, t * weight * ce, valid)
    _put(sums_ptr, FOCAL_NEGATIVE, stride, (1 - t) * weight * ce, valid)
    hit, mask = x > THRESHOLD, t > 0.5
    _put(sums_ptr, HARD_INTERSECTION, stride, (hit & mask).to(DTYPE), valid)
    _put(sums_ptr, HARD_UNION, stride, (hit | mask).to(DTYPE), valid)
    _put(sums_ptr, PREDICTED_SQUARED, stride, p * p, valid)
    _put(sums_ptr, ACTUAL_SQUARED, stride, t * t, valid)


@triton.jit
def incoming(grads_ptr, PLACE: tl.constexpr, stride, mask):
    """Read the gradient of one sum; 0 if it is not requested."""
    if PLACE >= 0:
        grad = tl.load(grads_ptr + PLACE * tl.cast(stride, tl.int64), mask=mask, other=0)
    else:
        grad = tl.zeros(grads_ptr.shape, grads_ptr.dtype.element_ty)
    return grad


@triton.jit
def sigmoid_gradient(
    x_ptr, t_ptr, grads_ptr, dx_ptr, sharing, L, rows, tiles,
    INTERSECTION: tl.constexpr, PREDICTED: tl.constexpr,
    CROSS_ENTROPY_POSITIVE: tl.constexpr, CROSS_ENTROPY_NEGATIVE: tl.constexpr,
    FOCAL_POSITIVE: tl.constexpr, FOCAL_NEGATIVE: tl.constexpr, PREDICTED_SQUARED: tl.constexpr,
    GAMMA: tl.constexpr, IGNORE: tl.constexpr, SOFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient to the logits of one tile of one mask, from the gradients of its sums, (K, rows)."""
    DTYPE: tl.constexpr = grads_ptr.dtype.element_ty
    program = tl.program_id(0)
    row, first = (program // tiles).to(tl.int64), (program % tiles).to(tl.int64) * BLOCK
    overlap = incoming(grads_ptr + row, INTERSECTION, rows, True)
    predicted = incoming(grads_ptr + row, PREDICTED, rows, True)
    ce_positive = incoming(grads_ptr + row, CROSS_ENTROPY_POSITIVE, rows, True)
    ce_negative = incoming(grads_ptr + row, CROSS_ENTROPY_NEGATIVE, rows, True)
    focal_positive = incoming(grads_ptr + row, FOCAL_POSITIVE, rows, True)
    focal_negative = incoming(grads_ptr + row, FOCAL_NEGATIVE, rows, True)
    squared = incoming(grads_ptr + row, PREDICTED_SQUARED, rows, True)
    dx = tl.zeros((BLOCK,), DTYPE)
    # A row whose gradients are all 0 is not read.
    some = (overlap != 0) | (predicted != 0) | (ce_positive != 0) | (ce_negative != 0)
    if some | (focal_positive != 0) | (focal_negative != 0) | (squared != 0):
        x, t, valid = _read_mask(x_ptr, t_ptr, row, sharing, first, L, BLOCK, IGNORE, DTYPE)
        p, rest, tail = _sigmoid(x)
        if INTERSECTION >= 0:
            dx += overlap * overlap_slope(p, t, SOFT) * p * rest
        if PREDICTED >= 0:
            dx += predicted * p * rest
        if PREDICTED_SQUARED >= 0:
            dx += squared * 2 * p * p * rest
        if CROSS_ENTROPY_POSITIVE >= 0:
            dx -= ce_positive * t * rest
        if CROSS_ENTROPY_NEGATIVE >= 0:
            dx += ce_negative * (1 - t) * p
        if FOCAL_POSITIVE >= 0 or FOCAL_NEGATIVE >= 0:
            ce, weight, slope = _focal(x, t, p, rest, tail, GAMMA, SOFT)
            error = p * (1 - t) - rest * t  # p - t, which would round
            dx += (focal_positive * t + focal_negative * (1 - t)) * weight * (GAMMA * slope * ce + error)
        dx = tl.where(valid, dx, 0)
    lane = tl.arange(0, BLOCK)
    inside = lane < tl.minimum(L - first, BLOCK).to(tl.int32)
    tl.store(dx_ptr + row * L + first + lane, dx.to(dx_ptr.dtype.element_ty), mask=inside)
