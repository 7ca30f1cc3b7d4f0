"""Scalar functions that LLVM vectorises: arithmetic and selects, because it does not vectorise calls of libm.

float32 by polynomials, within a few ulp; float64 by libm, unvectorised. The argument's type decides.
Constants are float32: an operation with a float32 stays float32, one with a float64 is widened. Comparisons are written
so that NaN propagates.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload, register_jitable

F32 = np.float32
I32 = np.int32
U32 = np.uint32
ZERO, HALF, ONE = F32(0.0), F32(0.5), F32(1.0)

# Options for compiling kernels. Without nnan and ninf: NaN logits must stay visible. Only sums over lanes may be
# reordered: log s - (x - max) as (log s + max) - x loses the digits of a confident pixel.
EXACT = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}
SUMMING = EXACT | {"fastmath": {"contract", "nsz", "arcp", "reassoc"}}
ELEMENT = EXACT | {"forceinline": True}
OPTIONS = {"fastmath": EXACT["fastmath"]}


# Added to a small number, it rounds to an integer, as no bits are left for a fraction; the last bits are then the
# integer plus 127, a float's exponent.
_ROUND = F32(1.5 * 2**23 + 127)


def exp_nonpositive(value):
    """Return e^value for value <= 0; at least e^-87 in float32."""


def exp_bounded(value):
    """Return e^value; within e^-87 and e^87 in float32."""


def exp_product(factor, high, low):
    """Return e^(factor (high + low)) for a product <= 0, with the digits that a rounded product would lose."""


def log1p_unit(value):
    """Return log(1 + value) for 0 <= value <= 1, to full relative precision for small values too."""


def log_parts(value):
    """Return two numbers whose sum is log(value), the second below 1.

    Numbers below the smallest positive normal one are replaced by it.
    """


@intrinsic
def select(context, condition, yes, no):
    """Return `yes if condition else no` for two numbers of one type, without a branch, which stops vectorisation."""

    def generate(context, builder, signature, arguments):
        return builder.select(*arguments)

    common = context.unify_types(yes, no)
    return common(types.boolean, common, common), generate


@intrinsic
def wide_vectors(context):
    """Let the calling function use vectors of 512 bits, if the processor has them, and estimates of reciprocals.

    LLVM's default is 256 bits, because of clock rates of 2017; with it the kernels took half as long again. A division
    took as long as half of a sigmoid. An estimate, improved by one step of Newton's method, is within 1e-7; the sigmoid
    of 0 may be 0.49999997 instead of 1/2.
    """

    def generate(context, builder, signature, arguments):
        # llvmlite's own method accepts only attributes whose names are one word.
        attributes = ('"prefer-vector-width"="512"', '"reciprocal-estimates"="vec-divf"')
        for attribute in attributes:
            set.add(builder.function.attributes, attribute)
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def inverse_of(context, value):
    """Return 1 / value for a finite value; LLVM uses estimates only where infinity is excluded."""

    def generate(context, builder, signature, arguments):
        one = ir.Constant(arguments[0].type, 1.0)
        return builder.fdiv(one, arguments[0], flags=("arcp", "contract", "ninf", "nsz"))

    return value(value), generate


@intrinsic
def float_of(context, bits):
    """Return the float32 of these bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def bits_of(context, value):
    """Return the bits of a float32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


@register_jitable(**OPTIONS)
def _exp_sum(high, low):
    """Return e^(high + low) in float32, for a sum between -87 and 87; high may have more digits than the sum."""
    shifted = (high + low) * F32(1.44269504) + _ROUND
    n = shifted - _ROUND
    r = (high - n * F32(0.693359375)) + (low + n * F32(2.12194440e-4))
    # (e^r - 1 - r) / r^2, within 2e-9 of e^r
    p = F32(1.3843654e-3)
    p = p * r + F32(8.3741555e-3)
    p = p * r + F32(4.1668002e-2)
    p = p * r + F32(0.16666432)
    p = p * r + F32(0.49999994)
    p = p * r + ONE
    return (p * r + ONE) * float_of(bits_of(shifted) << U32(23))


@register_jitable(**OPTIONS)
def _first_bits(value):
    """Return a float32 of half of the bits: the product of two of them is exact."""
    return float_of(bits_of(value) & U32(0xFFFFF000))


@overload(exp_nonpositive, jit_options=OPTIONS)
def _exp_nonpositive(value):
    if value == types.float64:
        return lambda value: math.exp(value)
    return lambda value: _exp_sum(select(value < F32(-87.0), F32(-87.0), value), ZERO)


@overload(exp_bounded, jit_options=OPTIONS)
def _exp_bounded(value):
    if value == types.float64:
        return lambda value: math.exp(value)
    return lambda value: exp_nonpositive(select(value > F32(87.0), F32(87.0), value))


@overload(exp_product, jit_options=OPTIONS)
def _exp_product(factor, high, low):
    if high == types.float64:
        return lambda factor, high, low: math.exp(factor * (high + low))

    def single(factor, high, low):
        f, h = _first_bits(factor), _first_bits(high)
        product, rest = f * h, (factor - f) * h + factor * (high - h + low)
        tiny = product + rest < F32(-87.0)
        return _exp_sum(select(tiny, F32(-87.0), product), select(tiny, ZERO, rest))

    return single


@overload(log1p_unit, jit_options=OPTIONS)
def _log1p_unit(value):
    if value == types.float64:
        return lambda value: math.log1p(value)

    def single(value):
        # (log(1 + v) / v - 1) / v, within 4e-8 of log(1 + v) / v
        p = F32(5.3648246e-3)
        p = p * value - F32(0.030065792)
        p = p * value + F32(0.079204537)
        p = p * value - F32(0.13753803)
        p = p * value + F32(0.19153655)
        p = p * value - F32(0.24857163)
        p = p * value + F32(0.33321324)
        p = p * value - F32(0.49999648)
        return value + value * value * p

    return single


@overload(log_parts, jit_options=OPTIONS)
def _log_parts(value):
    if value == types.float64:
        return lambda value: (math.log(2.2250738585072014e-308 if value < 2.2250738585072014e-308 else value), 0.0)

    def single(value):
        x = select(value < F32(1.17549435e-38), F32(1.17549435e-38), value)
        bits = bits_of(x)
        exponent = F32(I32(bits >> U32(23)) - I32(126))
        m = float_of((bits & U32(0x007FFFFF)) | U32(0x3F000000))
        low = m < F32(0.707106781186547524)
        exponent = select(low, exponent - F32(1.0), exponent)
        m = select(low, m + m - F32(1.0), m - F32(1.0))
        z = m * m
        p = F32(7.0376836292e-2)
        p = p * m - F32(1.1514610310e-1)
        p = p * m + F32(1.1676998740e-1)
        p = p * m - F32(1.2420140846e-1)
        p = p * m + F32(1.4249322787e-1)
        p = p * m - F32(1.6668057665e-1)
        p = p * m + F32(2.0000714765e-1)
        p = p * m - F32(2.4999993993e-1)
        p = p * m + F32(3.3333331174e-1)
        small = p * m * z - F32(2.12194440e-4) * exponent - F32(0.5) * z
        return F32(0.693359375) * exponent, m + small

    return single


@njit(**ELEMENT)
def log_positive(value):
    """Return log(value), of at least the smallest positive normal number."""
    high, low = log_parts(value)
    return high + low


@njit(**ELEMENT)
def power_of(base, high, low, gamma, power):
    """Return base^gamma for base = e^(high + low) <= 1; `power` is gamma if that is 0, 1 or 2, otherwise 3."""
    if power == 0:
        return ONE
    if power == 1:
        return base
    if power == 2:
        return base * base
    return exp_product(gamma, high, low)


@njit(**ELEMENT)
def power_slope(base, raised, gamma, power):
    """Return gamma base^(gamma - 1), the slope of raised = base^gamma."""
    if power == 0:
        return ZERO
    if power == 1:
        return ONE
    if power == 2:
        return base + base
    return gamma * raised / select(base > ZERO, base, ONE)
