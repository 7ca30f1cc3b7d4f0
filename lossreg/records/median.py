"""Exact medians of more losses than fit into memory: count in buckets, and narrow to the bucket of the middle."""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from lossreg.records.exact_sums import LOWER_BITS, Buckets, bits

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STEPS = (LOWER_BITS, 28, 10, 0)  # how many lower bits a bucket spans, from pass to pass
_ALL_BUT_SIGN = (1 << 63) - 1


class _Middle(NamedTuple):
    """One of the two floats in the middle: its bucket, and its rank among those in the bucket."""

    bucket: int
    rank: int


def medians(connection: DuckDBPyConnection, buckets: Mapping[str, Buckets]) -> dict[str | None, float]:
    """The median finite loss of each dataset and, under None, over all: the mean of the two in the middle.

    Three passes over the losses, each of which counts only those in the buckets of a middle. Ties, whatever their
    number, are one count.

    Args:
        connection: from `connect`.
        buckets: the rows in each bucket per dataset, as `statistics.moments` counts them.
    """
    if not buckets:
        return {}
    middles = {scope: _middles(counts) for scope, counts in _with_all(buckets).items()}
    for wide, narrow in pairwise(_STEPS):
        within = _counted(connection, middles, wide, narrow)
        for scope, pair in middles.items():
            middles[scope] = [_narrowed(middle, within[scope], wide - narrow) for middle in pair]
    return {scope: _mean([_float(middle.bucket) for middle in pair]) for scope, pair in middles.items()}


def _with_all(buckets: Mapping[str, Buckets]) -> dict[str | None, Buckets]:
    """The same and, under None, the counts over all."""
    total: Counter[int] = Counter()
    for counts in buckets.values():
        total.update(counts)
    return {None: total, **dict(buckets.items())}


def _middles(counts: Buckets) -> list[_Middle]:
    number = sum(counts.values())
    return [_found(counts, rank) for rank in ((number - 1) // 2, number // 2)]


def _found(counts: Buckets, rank: int) -> _Middle:
    for bucket in sorted(counts):
        if rank < counts[bucket]:
            return _Middle(bucket, rank)
        rank -= counts[bucket]
    raise AssertionError("a rank is below the number of rows")


def _narrowed(middle: _Middle, counts: Buckets, bits_apart: int) -> _Middle:
    inside = {bucket: count for bucket, count in counts.items() if bucket >> bits_apart == middle.bucket}
    return _found(inside, middle.rank)


def _counted(
    connection: DuckDBPyConnection, middles: Mapping[str | None, list[_Middle]], wide: int, narrow: int
) -> dict[str | None, Buckets]:
    """The rows in each narrow bucket within the wide ones of the middles, per dataset and over all."""
    of_all = {middle.bucket for middle in middles[None]}
    wanted = [
        (dataset, bucket)
        for dataset, pair in middles.items()
        if dataset is not None
        for bucket in {middle.bucket for middle in pair} | of_all
    ]
    datasets, numbers = zip(*wanted, strict=True)
    rows = connection.execute(
        f"""
        WITH wanted AS (SELECT unnest(?::VARCHAR[]) AS dataset, unnest(?::BIGINT[]) AS bucket),
        keys AS (SELECT dataset, {bits("loss")} AS bits FROM records WHERE isfinite(loss)),
        sorted AS (SELECT dataset, CASE WHEN bits < 0 THEN xor(bits, {_ALL_BUT_SIGN}) ELSE bits END AS key FROM keys)
        SELECT dataset, key >> {narrow}, count(*)
        FROM sorted JOIN wanted USING (dataset) WHERE key >> {wide} = wanted.bucket GROUP BY ALL
        """,
        [list(datasets), list(numbers)],
    )
    found: dict[str | None, Buckets] = defaultdict(dict)
    while batch := rows.fetchmany(65_536):
        for dataset, bucket, count in batch:
            found[dataset][bucket] = count
            found[None][bucket] = found[None].get(bucket, 0) + count
    return found


def _float(key: int) -> float:
    """The float of an ordered key."""
    value: float = struct.unpack("<d", struct.pack("<q", key if key >= 0 else key ^ _ALL_BUT_SIGN))[0]
    return value


def _mean(values: list[float]) -> float:
    """To the nearest float; the sum of two may be beyond their range."""
    return float(sum(map(Fraction, values)) / len(values))
