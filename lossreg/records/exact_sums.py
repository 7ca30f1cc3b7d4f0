"""Exact sums of floats, whatever the order of the rows: what mean, variance and median are computed from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A bucket holds the floats with the same sign, exponent and first 6 bits of the mantissa: the upper 18 of their 64
# bits. Within it a float is its lower 46 bits, an integer. The squares of 2^35 of them have room in 128 bits.
LOWER_BITS = 46
_LOWER = (1 << LOWER_BITS) - 1
_UNIT = 1074  # 2^-1074 is the smallest float; every other is a whole number of it

Buckets = dict[int, int]  # rows in a bucket


class Moments(NamedTuple):
    """Exact sums over some floats.

    Args:
        rows: how many.
        total: their sum, in units of 2^-1074.
        squares: the sum of their squares, in units of 2^-2148.
    """

    rows: int = 0
    total: int = 0
    squares: int = 0

    def __add__(self, other: tuple[Any, ...]) -> Moments:
        return Moments(*(mine + yours for mine, yours in zip(self, other, strict=True)))

    @property
    def mean(self) -> float | None:
        """Of all, to the nearest float; None of none."""
        return quotient(self.total, self.rows << _UNIT) if self.rows else None

    @property
    def variance(self) -> float | None:
        """Sample variance, to the nearest float; None below two, or if it is beyond the range of floats."""
        if self.rows < 2:
            return None
        spread = self.rows * self.squares - self.total**2
        return quotient(spread, self.rows * (self.rows - 1) << 2 * _UNIT)


def mean(values: Sequence[float]) -> float:
    """The mean of one or more floats in memory, to the nearest float."""
    if len(values) == 1:
        return values[0]
    numbers, unit = _integers(values)
    return sum(numbers) / (len(values) * unit)


def variance(values: Sequence[float]) -> float | None:
    """Sample variance of floats in memory, to the nearest float; None below two, or beyond the range of floats."""
    count = len(values)
    if count < 2:
        return None
    numbers, unit = _integers(values)
    spread = count * sum(number**2 for number in numbers) - sum(numbers) ** 2
    return quotient(spread, count * (count - 1) * unit**2)


def _integers(values: Iterable[float]) -> tuple[list[int], int]:
    """The same floats as integers, all divided by the same power of two."""
    ratios = [value.as_integer_ratio() for value in values]
    unit = max(denominator for _, denominator in ratios)
    return [numerator * (unit // denominator) for numerator, denominator in ratios], unit


def quotient(numerator: int, denominator: int) -> float | None:
    """The float that is nearest; None if it is beyond their range, which JSON cannot hold."""
    try:
        return numerator / denominator
    except OverflowError:
        return None


def moments(
    connection: DuckDBPyConnection, value: str, where: str = "true"
) -> tuple[dict[str, Moments], dict[str, Buckets]]:
    """Exact sums and buckets of a number per dataset, in one pass that holds nothing but the buckets.

    Args:
        connection: from `connect`.
        value: the number as SQL, a DOUBLE. Rows where it is NULL, NaN or infinite do not count.
        where: which rows count, as SQL.
    """
    found: dict[str, Moments] = defaultdict(Moments)
    buckets: dict[str, Buckets] = defaultdict(dict)
    query = f"""
        SELECT dataset, bucket, count(*), sum(lower), sum(CAST(lower AS HUGEINT) * lower) FROM (
            SELECT dataset, bits >> {LOWER_BITS} AS bucket, bits & {_LOWER} AS lower
            FROM (SELECT dataset, {bits(value)} AS bits FROM records WHERE isfinite({value}) AND ({where}))
        ) GROUP BY ALL"""
    rows = connection.execute(query)
    while batch := rows.fetchmany(65_536):
        for dataset, bucket, count, lower, squares in batch:
            found[dataset] += _of_bucket(bucket, count, int(lower), int(squares))
            buckets[dataset][ordered(bucket)] = count
    return found, buckets


def weighted_means(connection: DuckDBPyConnection, value: str, where: str = "true") -> dict[str | None, float | None]:
    """The means of a number weighted by `weight`, exact to the nearest float, per dataset and under None over all.

    Args:
        connection: from `connect`. Weights are finite and above 0.
        value: the number as SQL, a DOUBLE. Rows where it is NULL, NaN or infinite do not count.
        where: which rows count, as SQL.
    """
    # Significands have 53 bits, their products 106. Those of half a weight have 80, and room for the sum of 2^47.
    half = 27
    rows = connection.execute(f"""
        SELECT dataset, exponent, of_weight, sum(CAST(v AS HUGEINT) * (w >> {half})),
            sum(CAST(v AS HUGEINT) * (w & {(1 << half) - 1})), sum(w)
        FROM (SELECT dataset, bits >> 52 AS exponent, weight_bits >> 52 AS of_weight,
            {_significand("bits")} AS v, {_significand("weight_bits")} AS w
            FROM (SELECT dataset, {bits(value)} AS bits, {bits("weight")} AS weight_bits
                FROM records WHERE isfinite({value}) AND ({where})))
        GROUP BY ALL""").fetchall()
    sums: dict[str | None, list[int]] = defaultdict(lambda: [0, 0])
    for dataset, exponent, of_weight, upper, lower, weight in rows:
        shift = max(of_weight - 1, 0)
        product = (-1 if exponent < 0 else 1) * ((int(upper) << half) + int(lower))
        for scope in (dataset, None):
            sums[scope][0] += product << max((exponent & 0x7FF) - 1, 0) + shift
            sums[scope][1] += int(weight) << shift
    return {scope: quotient(total, weight << _UNIT) for scope, (total, weight) in sums.items()}


def _significand(name: str) -> str:
    """Of a float by its bits, as SQL: an integer of 53 bits. The leading one is not stored, but in the smallest."""
    return f"({name} & {(1 << 52) - 1}) + CASE WHEN ({name} >> 52) & 2047 = 0 THEN 0 ELSE {1 << 52} END"


def bits(value: str) -> str:
    """The 64 bits of a DOUBLE as BIGINT, as SQL. Both zeros are 0."""
    return f"CAST(CAST(({value}) + CAST(0 AS DOUBLE) AS BIT) AS BIGINT)"


def ordered(bucket: int) -> int:
    """A number of a bucket that grows with the floats in it: of negative ones the bits grow downward."""
    return bucket if bucket >= 0 else bucket ^ ((1 << (63 - LOWER_BITS)) - 1)


def _of_bucket(bucket: int, count: int, lower: int, squares: int) -> Moments:
    """The sums of a bucket, from those of the lower bits."""
    sign = -1 if bucket < 0 else 1
    exponent = (bucket >> 6) & 0x7FF
    first = (bucket & 0x3F) << LOWER_BITS
    if exponent:  # a normal float, whose leading bit is not stored
        first += 1 << 52
    shift = max(exponent - 1, 0)
    return Moments(
        count,
        sign * (count * first + lower) << shift,
        (count * first**2 + 2 * first * lower + squares) << 2 * shift,
    )
