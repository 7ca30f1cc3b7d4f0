# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""Pixels of exclusive classes on a GPU: how a warp reads them, and their softmax.

A tile is (C_TILE, W V): W threads with V adjacent pixels each, and LANES threads for the classes of a pixel. So these
lie in one warp. Values of a pixel are (1, W V). Where a pixel does not count, its logits are -inf, its class is -1, and
its targets are 0.

The compiler lays a tile out by what it knows of the addresses: which are adjacent, and which multiples they are. It
must not know more of one tensor than of another, or it would move values between threads. So strides are not
specialised, and the kernels state all that it may know.
"""

import triton
import triton.language as tl

from lossreg_segmentation.statistics.triton_math import exp_of, inverse_of, is_counted, log1p_over

# A lower bound of the largest logit, for pixels whose logits are all -inf; its product with log2(e) is finite.
LEAST = tl.constexpr(-2.3e38)


@triton.jit
def multiple(stride, V: tl.constexpr):
    """Return a stride that is a multiple of V, as the compiler then knows."""
    return stride // V * V


@triton.jit
def pixels(V: tl.constexpr, W: tl.constexpr, WIDE: tl.constexpr):
    """Return the pixel of each place in a tile."""
    pixel = tl.arange(0, V * W)[None, :]
    return pixel.to(tl.int64) if WIDE else pixel


@triton.jit
def are_inside(left, V: tl.constexpr, W: tl.constexpr):
    """Return True for the pixels before the end. It is a multiple of V, so those of a thread are alike."""
    return tl.arange(0, V * W)[None, :] // V * V < left


@triton.jit
def classes(chunk, C_TILE: tl.constexpr, WIDE: tl.constexpr):
    """Return the class of each place in a tile."""
    c = chunk * C_TILE + tl.arange(0, C_TILE)[:, None]
    return c.to(tl.int64) if WIDE else c


@triton.jit
def along(pointers, stride, pixel, V: tl.constexpr, W: tl.constexpr):
    """Return the addresses of pixels. Threads beside each other have pixels beside each other, adjacent if V > 1."""
    if V > 1:
        pointers += pixel
    else:  # the compiler knows no multiple of these addresses, so it reads one at a time
        pointers = tl.max_contiguous(pointers + pixel * stride, (1, W))
    return pointers


@triton.jit
def read_pixels(ptr, stride, pixel, inside, V: tl.constexpr, LANES: tl.constexpr, W: tl.constexpr):
    """Read a value of each pixel in all threads that share it: read in one of them, it would be exchanged later."""
    shape: tl.constexpr = (LANES, V * W)
    pointers = along(tl.broadcast_to(ptr, shape), stride, pixel, V, W)
    return tl.max(tl.load(pointers, mask=tl.broadcast_to(inside, shape), other=0), 0)[None, :]


@triton.jit
def read_indices(
    t_ptr, t_l, C, pixel, inside, ignored,
    IGNORED: tl.constexpr, WIDE: tl.constexpr, V: tl.constexpr, LANES: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Return the class of each pixel, True where the pixel counts, and True where there is no such class."""
    index = read_pixels(t_ptr, t_l, pixel, inside, V, LANES, W)
    counted = inside & is_counted(index, ignored) if IGNORED else inside
    wrong = counted & ((index < 0) | (index >= C))
    index = tl.where(counted & (wrong == 0), index, -1)
    return index.to(tl.int64 if WIDE else tl.int32), counted, wrong


@triton.jit
def read_targets(
    t_ptr, t_c, t_l, c, C, pixel, inside, ignored,
    IGNORED: tl.constexpr, SOFT: tl.constexpr, DTYPE: tl.constexpr, V: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Return a tile of targets, True for pixels that count in its classes, and True where a target is out of range."""
    mask = (c < C) & inside
    t = tl.load(along(t_ptr + c * t_c, t_l, pixel, V, W), mask=mask, other=0)
    counted = inside
    if IGNORED:  # one ignored class ignores the pixel
        counted = inside & (tl.max((mask & (is_counted(t, ignored) == 0)).to(tl.int32), 0)[None, :] == 0)
        t = tl.where(counted, t, 0)
    if SOFT:
        wrong = ((t >= 0) & (t <= 1)) == 0
    else:
        wrong = (t != 0) & (t != 1)
    return t.to(DTYPE), counted, wrong


@triton.jit
def read_logits(
    x_ptr, x_c, x_l, c, C, pixel, inside, counted,
    IGNORED: tl.constexpr, DTYPE: tl.constexpr, V: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Read a tile of logits: -inf for pixels that do not count and for classes that do not exist."""
    x = tl.load(along(x_ptr + c * x_c, x_l, pixel, V, W), mask=(c < C) & inside, other=float("-inf")).to(DTYPE)
    # A NaN under an ignored target would survive a product with zero.
    return tl.where(counted, x, float("-inf")) if IGNORED else x


@triton.jit
def softmax_of(x):
    """Return each pixel's largest logit, the sum of exp(x - largest) over the other classes, and exp(x - largest).

    The sum is added up, not subtracted, so that a confident pixel keeps its digits.
    """
    largest = tl.maximum(tl.max(x, 0), LEAST)[None, :]
    e = exp_of(x - largest)
    total = tl.sum(e, 0)[None, :]
    others = tl.sum(tl.where(x == largest, 0, e), 0)[None, :]
    # From 2 on, several classes may be the largest, and the subtraction loses nothing.
    return largest, tl.where(total < 2, others, total - 1), e


@triton.jit
def first_largest(x, largest, c):
    """Return the first class of each pixel that has the largest logit; above all classes if none has."""
    return tl.min(tl.where(x == largest, c, 2**30), 0)[None, :]


@triton.jit
def own_logits(x, index, c):
    """Return the logit of each pixel's class if it is in this tile, else 0."""
    return tl.sum(tl.where(index == c, x, 0), 0)[None, :]


@triton.jit
def joined(largest, others, largest_2, others_2):
    """Return the largest logit and the sum of the others, of two groups of classes together."""
    e = exp_of(-tl.abs(largest - largest_2))
    first = largest >= largest_2
    smaller, larger = tl.where(first, others_2, others), tl.where(first, others, others_2)
    return tl.maximum(largest, largest_2), larger + e * (1 + smaller)


@triton.jit
def softmax_of_chunks(
    x_ptr, t_ptr, x_c, x_l, t_c, t_l, C, pixel, inside, index, counted, ignored, DTYPE: tl.constexpr,
    IGNORED: tl.constexpr, SOFT: tl.constexpr, INDEX: tl.constexpr, WIDE: tl.constexpr,
    CHUNKS: tl.constexpr, C_TILE: tl.constexpr, V: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Return each pixel's largest logit, the sum of the others, the likeliest class, its own logit, if it counts."""
    largest = tl.full(counted.shape, float("-inf"), DTYPE)
    others = tl.full(counted.shape, 0, DTYPE)
    own = tl.full(counted.shape, 0, DTYPE)
    likeliest = tl.full(counted.shape, 0, tl.int32)
    for chunk in range(CHUNKS):
        c = classes(chunk, C_TILE, WIDE)
        if IGNORED and not INDEX:
            _, here, _ = read_targets(t_ptr, t_c, t_l, c, C, pixel, inside, ignored, IGNORED, SOFT, DTYPE, V, W)
            counted = counted & here
        x = read_logits(x_ptr, x_c, x_l, c, C, pixel, inside, counted, IGNORED, DTYPE, V, W)
        if INDEX:
            own += own_logits(x, index, c)
        largest_2, others_2, _ = softmax_of(x)
        likeliest = tl.where(largest_2 > largest, first_largest(x, largest_2, c).to(tl.int32), likeliest)
        largest, others = joined(largest, others, largest_2, others_2)
    return tl.where(counted, largest, 0), tl.where(counted, others, 0), likeliest, own, counted


@triton.jit
def rest_of(e, others, scale):
    """Return 1 - p, which is none of near numbers."""
    return tl.where(e == 1, others, 1 + others - e) * scale


@triton.jit
def tail_of(others):
    """Return log(1 + others), the -log(p) of the likeliest class."""
    few = tl.minimum(others, 1)
    return tl.where(others < 1, few * log1p_over(few), tl.log(1 + others))


@triton.jit
def inverse_total(others, counted):
    """Return the p of the likeliest class; 0 for pixels that do not count."""
    return tl.where(counted, inverse_of(1 + others), 0)


@triton.jit
def of_target(x, own, index, e, largest, others, scale, INDEX: tl.constexpr):
    """Return p, 1 - p and -log(p): of each pixel's class alone for class indices, else of each class."""
    if INDEX:
        z = tl.where(index >= 0, own - largest, 0)
        e = exp_of(z)
    else:
        z = x - largest
    return e * scale, rest_of(e, others, scale), tail_of(others) - z
