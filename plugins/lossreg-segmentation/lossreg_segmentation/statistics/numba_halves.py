"""Half precision, which Numba lacks: bfloat16 as the uint16 and float16 as the int16 of its bits."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from lossreg_segmentation.statistics.numba_math import F32, OPTIONS, U32, bits_of, float_of, select


def widen(value):
    """Convert a logit to the kernels' type; uint16 is the bits of a bfloat16, int16 the bits of a float16."""


def narrow(value, like):
    """Convert a float to the type of `like`, as bits, rounded to nearest even; the inverse of `widen`."""


@register_jitable(**OPTIONS)
def _from_bfloat16(bits):
    return float_of(U32(bits) << U32(16))


@register_jitable(**OPTIONS)
def _from_float16(bits):
    """Shift the bits to a float32's fields; the factor 2^112 corrects the exponent's bias, also for subnormals."""
    pattern = U32(np.uint16(bits))
    magnitude = pattern & U32(0x7FFF)
    value = float_of(magnitude << U32(13)) * F32(2.0**112)
    special = float_of((magnitude << U32(13)) | U32(0x7F800000))  # inf and NaN
    value = select(magnitude >= U32(0x7C00), special, value)
    return select(pattern >= U32(0x8000), -value, value)


@register_jitable(**OPTIONS)
def _to_bfloat16(value):
    bits = bits_of(value)
    rounded = (bits + U32(0x7FFF) + ((bits >> U32(16)) & U32(1))) >> U32(16)
    return np.uint16(select(value == value, rounded, U32(0x7FC0)))


@register_jitable(**OPTIONS)
def _to_float16(value):
    bits = bits_of(value)
    magnitude = bits & U32(0x7FFFFFFF)
    # Normal: change the bias and add half a unit of the last place, less one bit if the last place is even.
    normal = (magnitude + U32(0xC8000FFF) + ((magnitude >> U32(13)) & U32(1))) >> U32(13)
    # Subnormal: adding 0.5 rounds at the place of the smallest subnormal.
    small = bits_of(float_of(magnitude) + F32(0.5)) - U32(0x3F000000)
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
