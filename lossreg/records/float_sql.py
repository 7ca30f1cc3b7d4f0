"""SQL expressions over floats: means, variances and rounding. All take and give a DOUBLE."""

from __future__ import annotations


def mean(value: str) -> str:
    """Write the mean of a group, by a compensated sum; NULL of none, or where the sum is beyond the range of floats."""
    return f"CASE WHEN isfinite(favg({value})) THEN favg({value}) END"


def variance(value: str) -> str:
    """Write the sample variance of a group; NULL below two values, or where squares are beyond the range of floats."""
    return f"CASE WHEN isfinite(var_samp({value})) THEN var_samp({value}) END"


def rounded(value: str, bits: int) -> str:
    """Write a number rounded to `bits` significant binary digits. Rounding keeps the order of numbers.

    It is Veltkamp's splitting: multiply by 2^(53 - bits) + 1, and let the rounding of floats cut the lower digits. A
    number beyond 1e280 would overflow. All of these become ±1e300, which is above every other result.
    """
    scaled = f"({value}) * {2 ** (53 - bits) + 1}"
    return f"CASE WHEN abs({value}) < 1e280 THEN {scaled} - ({scaled} - ({value})) ELSE sign({value}) * 1e300 END"
