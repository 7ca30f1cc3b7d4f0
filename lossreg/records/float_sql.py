"""SQL expressions over floats: means, variances and rounding. All take and give a DOUBLE."""

from __future__ import annotations


def mean(value: str) -> str:
    """Write the mean of a group, by a compensated sum; NULL of none, or where the sum is beyond the range of floats."""
    return f"CASE WHEN isfinite(favg({value})) THEN favg({value}) END"


def variance(value: str) -> str:
    """Write the sample variance of a small group; NULL below two values, or beyond the range of floats.

    The error of `var_samp` grows with the rows: it is 2e-12 of the mean square at 3e7 rows.
    """
    return f"CASE WHEN isfinite(var_samp({value})) THEN var_samp({value}) END"


def variance_about(shifted: str) -> str:
    """Write the sample variance of a group of any size, from its deviations from its median; NULL as `variance`.

    The median is at most one standard deviation from the mean, so that the difference of the two sums keeps its digits.
    """
    squares = f"fsum({shifted} * {shifted}) - fsum({shifted}) * fsum({shifted}) / count({shifted})"
    found = f"({squares}) / nullif(count({shifted}) - 1, 0)"
    return f"CASE WHEN isfinite({found}) THEN greatest({found}, 0) END"


def rounded(value: str, bits: int) -> str:
    """Write a number rounded to `bits` significant binary digits. Rounding keeps the order of numbers.

    It is Veltkamp's splitting: multiply by 2^(53 - bits) + 1, and let the rounding of floats cut the lower digits. A
    number beyond 1e280 would overflow. All of these become ±1e300, which is above every other result.
    """
    scaled = f"({value}) * {2 ** (53 - bits) + 1}"
    return f"CASE WHEN abs({value}) < 1e280 THEN {scaled} - ({scaled} - ({value})) ELSE sign({value}) * 1e300 END"
