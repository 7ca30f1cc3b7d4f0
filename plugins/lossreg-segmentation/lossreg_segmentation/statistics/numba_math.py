"""Scalar functions that LLVM vectorises: arithmetic and selects, because it does not vectorise calls of libm.

float32 by polynomials of Cephes, within a few ulp; float64 by libm, unvectorised. The argument's type decides.
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


def kept_on_disk(function, options):
    """Compile a kernel and cache it on disk for all processes; without the cache if no folder is writable."""
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # Numba finds no folder: a read-only installation and no home
        return njit(**options)(function)


_ROUND = F32(1.5 * 2**23)  # added to a small number, it rounds to an integer: no bits are left for a fraction


def widen(value):
    """Convert a logit to the kernels' type; uint16 is the bits of a bfloat16, int16 the bits of a float16."""


def narrow(value, like):
    """Convert a float to the type of `like`, as bits, rounded to nearest even; the inverse of `widen`."""


def exp_nonpositive(value):
    """Return e^value for value <= 0; at least e^-87 in float32."""


def log1p_unit(value):
    """Return log(1 + value) for 0 <= value <= 1, to full relative precision for small values too."""


def log_positive(value):
    """Return log(value); numbers below the smallest positive normal one are replaced by it."""


@intrinsic
def select(context, condition, yes, no):
    """Return `yes if condition else no` for two numbers of one type, without a branch, which stops vectorisation."""

    def generate(context, builder, signature, arguments):
        return builder.select(*arguments)

    common = context.unify_types(yes, no)
    return common(types.boolean, common, common), generate


@intrinsic
def wide_vectors(context):
    """Let the calling function use vectors of 512 bits if the processor has them.

    LLVM's default is 256 bits, because of clock rates of 2017; with it the kernels took half as long again.
    """

    def generate(context, builder, signature, arguments):
        # llvmlite's own method accepts only attributes whose names are one word.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def _float_of(context, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def _bits_of(context, value):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


@register_jitable(**OPTIONS)
def _from_bfloat16(bits):
    return _float_of(U32(bits) << U32(16))


@register_jitable(**OPTIONS)
def _from_float16(bits):
    """Shift the bits to a float32's fields; the factor 2^112 corrects the exponent's bias, also for subnormals."""
    pattern = U32(np.uint16(bits))
    magnitude = pattern & U32(0x7FFF)
    value = _float_of(magnitude << U32(13)) * F32(2.0**112)
    special = _float_of((magnitude << U32(13)) | U32(0x7F800000))  # inf and NaN
    value = select(magnitude >= U32(0x7C00), special, value)
    return select(pattern >= U32(0x8000), -value, value)


@register_jitable(**OPTIONS)
def _to_bfloat16(value):
    bits = _bits_of(value)
    rounded = (bits + U32(0x7FFF) + ((bits >> U32(16)) & U32(1))) >> U32(16)
    return np.uint16(select(value == value, rounded, U32(0x7FC0)))


@register_jitable(**OPTIONS)
def _to_float16(value):
    bits = _bits_of(value)
    magnitude = bits & U32(0x7FFFFFFF)
    # Normal: change the bias and add half a unit of the last place, less one bit if the last place is even.
    normal = (magnitude + U32(0xC8000FFF) + ((magnitude >> U32(13)) & U32(1))) >> U32(13)
    # Subnormal: adding 0.5 rounds at the place of the smallest subnormal.
    small = _bits_of(_float_of(magnitude) + F32(0.5)) - U32(0x3F000000)
    found = select(magnitude < U32(0x38800000), small, normal)
    found = select(magnitude >= U32(0x477FF000), U32(0x7C00), found)
    found = select(value == value, found, U32(0x7E00))
    return np.int16(found | ((bits >> U32(16)) & U32(0x8000)))


@overload(widen, jit_options=OPTIONS)
def _widen(value):
    if value == types.uint16:
        return lambda value: _from_bfloat16(value)
    if value == types.int16:
        return lambda value: _from_float16(value)
    return lambda value: value


@overload(narrow, jit_options=OPTIONS)
def _narrow(value, like):
    if like == types.uint16:
        return lambda value, like: _to_bfloat16(value)
    if like == types.int16:
        return lambda value, like: _to_float16(value)
    return lambda value, like: value


@overload(exp_nonpositive, jit_options=OPTIONS)
def _exp_nonpositive(value):
    if value == types.float64:
        return lambda value: math.exp(value)

    def single(value):
        x = select(value < F32(-87.0), F32(-87.0), value)
        shifted = x * F32(1.44269504) + _ROUND  # the last bits are the nearest integer
        n = shifted - _ROUND
        r = x - n * F32(0.693359375) + n * F32(2.12194440e-4)
        p = F32(1.9875691500e-4)
        p = p * r + F32(1.3981999507e-3)
        p = p * r + F32(8.3334519073e-3)
        p = p * r + F32(4.1665795894e-2)
        p = p * r + F32(1.6666665459e-1)
        p = p * r + F32(5.0000001201e-1)
        return (p * r * r + r + F32(1.0)) * _float_of((_bits_of(shifted) + U32(127)) << U32(23))

    return single


@overload(log1p_unit, jit_options=OPTIONS)
def _log1p_unit(value):
    if value == types.float64:
        return lambda value: math.log1p(value)

    def single(value):
        # log(1 + v) / v at Chebyshev's points of [0, 1], within 2e-7
        p = F32(-0.00317605701)
        p = p * value + F32(0.0195425283)
        p = p * value - F32(0.0563736148)
        p = p * value + F32(0.105436236)
        p = p * value - F32(0.152696669)
        p = p * value + F32(0.196632743)
        p = p * value - F32(0.249516159)
        p = p * value + F32(0.333297104)
        p = p * value - F32(0.499998927)
        p = p * value + F32(1.0)
        return p * value

    return single


@overload(log_positive, jit_options=OPTIONS)
def _log_positive(value):
    if value == types.float64:
        return lambda value: math.log(2.2250738585072014e-308 if value < 2.2250738585072014e-308 else value)

    def single(value):
        x = select(value < F32(1.17549435e-38), F32(1.17549435e-38), value)
        bits = _bits_of(x)
        exponent = F32(I32(bits >> U32(23)) - I32(126))
        m = _float_of((bits & U32(0x007FFFFF)) | U32(0x3F000000))
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
        return m + small + F32(0.693359375) * exponent

    return single


@njit(**ELEMENT)
def power_of(base, log_base, gamma, power):
    """Return base^gamma for 0 <= base <= 1; `power` is gamma if that is 0, 1 or 2; otherwise use the logarithm."""
    if power == 0:
        return ONE
    if power == 1:
        return base
    if power == 2:
        return base * base
    return exp_nonpositive(gamma * log_base)


@njit(**EXACT)
def any_wrong(ts, ignored, soft, ignore):
    """Return True if a valid target is outside [0, 1], NaN, or, for hard targets, between 0 and 1."""
    wrong = False
    for i in range(ts.size):
        t = ts[i]
        right = (t >= 0) & (t <= 1) if soft else (t == 0) | (t == 1)
        wrong |= (not right) & (t != ignored) if ignore else not right
    return wrong
