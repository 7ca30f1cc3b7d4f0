# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""Positions of independent masks on a GPU: how a program reads them, and the two sides of a logit.

A program reads blocks of one mask. A thread reads V adjacent positions at a time.
"""

import triton
import triton.language as tl

from lossreg_segmentation.statistics.triton_math import TINY, exp_of, inverse_of, is_counted, log1p_over


@triton.jit
def start_of(x_b, x_c, x_l, t_b, t_c, t_l, L, length, SHIFT: tl.constexpr, V: tl.constexpr):
    """Return where a program's positions begin in x and t, and the range of those that lie in its mask.

    SHIFT is 0 where masks begin at multiples of 16 numbers or positions are not adjacent, else 1; 2 if t is like x.
    """
    c, tile, b = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    x_row, first = b * x_b + c * x_c, tile * length
    if SHIFT:  # begin with the vector that holds the mask's first logit, so that a thread reads whole vectors
        first -= x_row % V
        x_first = (x_row + first) // V * V  # so that the compiler knows it
    else:
        x_first = x_row + first * x_l
    if SHIFT == 2:
        t_first = x_first
    else:
        t_first = b * t_b + c * t_c + first * t_l
    low, high = tl.maximum(-first, 0).to(tl.int32), tl.minimum(L - first, length).to(tl.int32)
    return x_first, t_first, low, high


@triton.jit
def read_block(
    x_ptr, t_ptr, x_l, t_l, low, high, ignored,
    IGNORED: tl.constexpr, DTYPE: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Read a block: logits and target, and True where they count. Elsewhere they are -inf and 0."""
    lane = tl.max_contiguous(tl.arange(0, BLOCK), V)
    x_ptr, t_ptr = x_ptr + lane * x_l, t_ptr + lane * t_l
    inside = (lane >= low) & (lane < high)
    if (low <= 0) & (high >= BLOCK):  # without masks, so that a thread reads whole vectors
        x, t = tl.load(x_ptr), tl.load(t_ptr)
    else:
        x, t = tl.load(x_ptr, mask=inside, other=float("-inf")), tl.load(t_ptr, mask=inside, other=0)
    x, counted = x.to(DTYPE), inside
    if t.dtype.is_floating():
        t = t.to(DTYPE)
    if IGNORED:
        counted = inside & is_counted(t, ignored)
        x, t = tl.where(counted, x, float("-inf")), tl.where(counted, t, 0)
    return x, t, counted


@triton.jit
def read_weights(w_ptr, w_l, low, high, x, t, counted, DTYPE: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr):
    """Read the weights of a block: 0 where nothing counts. A weight of 0 is as an ignored target."""
    lane = tl.max_contiguous(tl.arange(0, BLOCK), V)
    w_ptr += lane * w_l
    if (low <= 0) & (high >= BLOCK):
        w = tl.load(w_ptr)
    else:
        w = tl.load(w_ptr, mask=(lane >= low) & (lane < high), other=0)
    counted = counted & (w != 0)
    return tl.where(counted, x, float("-inf")), tl.where(counted, t, 0), tl.where(counted, w, 0).to(DTYPE), counted


@triton.jit
def weighed(values, w, WEIGHTED: tl.constexpr):
    """Return values times their weights, if there are any."""
    if WEIGHTED:
        values = values * w
    return values


@triton.jit
def _halves(x):
    """Return p of |x|, 1 - p of it, and log(1 + exp(-|x|)). None is a difference of near numbers."""
    e = exp_of(-tl.abs(x))
    large = inverse_of(1 + e)
    return large, e * large, e * log1p_over(e)


@triton.jit
def probability(x):
    """Return p alone, by fewer instructions; exact also where it is small."""
    return inverse_of(1 + exp_of(-x))


@triton.jit
def hard_sides(x, t):
    """Return p, 1 - p_t, p_t, the cross-entropy, and log(1 - p_t) for a target that is True or False."""
    large, small, tail = _halves(x)
    z = tl.where(t, -x, x)  # a position of the target is one outside it with the other sign
    wrong, right = tl.where(z >= 0, large, small), tl.where(z >= 0, small, large)
    return tl.where(t, right, wrong), wrong, right, tl.maximum(z, 0) + tail, -(tl.maximum(-z, 0) + tail)


@triton.jit
def soft_sides(x, t):
    """Return p, 1 - p, 1 - p_t, both parts of the cross-entropy, and log(1 - p_t) for a target in [0, 1]."""
    large, small, tail = _halves(x)
    p, rest = tl.where(x >= 0, large, small), tl.where(x >= 0, small, large)
    wrong = p * (1 - t) + rest * t
    positive = t * tl.where(t > 0, tl.maximum(-x, 0) + tail, 0)  # 0 also for an infinite logit
    negative = (1 - t) * tl.where(t < 1, tl.maximum(x, 0) + tail, 0)
    return p, rest, wrong, positive, negative, tl.log(tl.maximum(wrong, TINY))
