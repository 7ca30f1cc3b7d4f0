# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""Functions of the GPU kernels: exponentials, logarithms, powers, and reads of targets.

float32 takes the approximate instructions of NVIDIA's devices where it can, float64 the exact ones.
"""

import torch
import triton
import triton.language as tl

from lossreg_segmentation.statistics.choice import interpreted

# Lower bound of denominators and logarithms' arguments; where it applies, the numerator or the other factor is 0.
TINY = tl.constexpr(1e-37)
# The interpreter and AMD's devices do not know the instructions of NVIDIA's.
NVIDIA = tl.constexpr(torch.version.hip is None and not interpreted())
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def exp_of(x):
    """Return e^x for x <= 0. In float32, a result below 1e-38 is 0."""
    if x.dtype == tl.float64:
        e = tl.exp(x)
    elif NVIDIA:
        e = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=r,r", [x * LOG2_E], tl.float32, True, 1)
    else:
        e = tl.exp2(x * LOG2_E)
    return e


@triton.jit
def inverse_of(x):
    """Return 1 / x for 1 <= x <= 2."""
    if NVIDIA and x.dtype == tl.float32:
        y = tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=r,r", [x], tl.float32, True, 1)
    else:
        y = 1 / x
    return y


@triton.jit
def log1p_over(e):
    """Return log(1 + e) / e for 0 <= e <= 1, to full relative precision, without a logarithm."""
    if e.dtype == tl.float64:  # twice the series of artanh(e / (2 + e)); every term adds 3.2 bits
        TERMS: tl.constexpr = 17
        square = e / (2 + e) * (e / (2 + e))
        y = tl.zeros_like(e)
        for k in tl.static_range(TERMS):
            y = y * square + 1.0 / (2 * (TERMS - k) - 1)
        y = 2 / (2 + e) * y
    else:  # the polynomial of degree 8 whose largest relative error is the smallest: 3e-8
        y = e * 0.005232691924554875 - 0.029505230146211155
        y = y * e + 0.07822593924939678
        y = y * e - 0.13663244872539182
        y = y * e + 0.1910600641906477
        y = y * e - 0.24842982160244714
        y = y * e + 0.3331909680795204
        y = y * e - 0.49999493141251417
        y = y * e + 0.999999969879909
    return y


@triton.jit
def power(base, log_base, gamma, GAMMA: tl.constexpr):
    """Return base^gamma for 0 <= base <= 1. GAMMA is its value where that is 0, 1 or 2, and otherwise None."""
    if GAMMA == 0:
        y = tl.full(base.shape, 1, base.dtype)
    elif GAMMA == 1:
        y = base
    elif GAMMA == 2:
        y = base * base
    else:
        y = exp_of(gamma * log_base)
    return y


@triton.jit
def number(bits, DTYPE: tl.constexpr):
    """Return the float whose 64 bits are an integer: an argument that is a float would be rounded to float32."""
    return bits.to(tl.int64).to(tl.float64, bitcast=True).to(DTYPE)


@triton.jit
def is_counted(t, ignored):
    """Return False where a target equals the ignored value."""
    if t.dtype.is_int() and t.dtype.primitive_bitwidth < 32:
        t = t.to(tl.int32)  # can be compared with any ignored value
    return t != ignored.to(t.dtype)


@triton.jit
def add_up(values, V: tl.constexpr):
    """Add V adjacent values, which lie in the registers of one thread."""
    return tl.sum(tl.reshape(values, (values.numel // V, V)), 1)


@triton.jit
def unsigned(t):
    """Return integers as unsigned ones, in which a negative number is a large one; a bool as 0 and 1."""
    if t.dtype.primitive_bitwidth == 64:
        u = t.to(tl.uint64, bitcast=True)
    else:
        u = t.to(tl.int32).to(tl.uint32, bitcast=True)
    return u


@triton.jit
def largest(values, V: tl.constexpr):
    """Return the largest of V adjacent values, which lie in the registers of one thread."""
    return tl.max(tl.reshape(values, (values.numel // V, V)), 1)
