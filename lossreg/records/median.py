"""Exact medians of more losses than fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.records.float_sql import rounded

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Correctly rounded. Halves first would lose a digit of subnormal numbers; the sum first is infinite for the largest.
_MIDPOINT = """CASE WHEN isfinite(min(loss) + max(loss)) THEN (min(loss) + max(loss)) / 2
            ELSE min(loss) / 2 + max(loss) / 2 END"""
_BITS = 8  # significant digits of a bucket: a bucket holds 1/128 of a power of two


def medians(connection: DuckDBPyConnection) -> dict[str | None, float]:
    """Compute the median finite loss of each dataset and, under None, of all: the mean of the two in the middle.

    DuckDB's `quantile_cont` would hold 16 bytes for each row, and fail beyond the limit of memory. This counts the
    losses in coarse buckets, and then each loss in the buckets of the middle; these counts go to disk where necessary.

    Args:
        connection: from `reader.connect`.
    """
    middle = "upto > (total - 1) // 2 AND upto - number <= total // 2"  # ranks count from 0
    rows = connection.execute(f"""
        WITH losses AS (
            SELECT dataset, loss + CAST(0 AS DOUBLE) AS loss, {rounded("loss", _BITS)} AS bucket
            FROM records WHERE isfinite(loss)),
        buckets AS (
            SELECT dataset AS scope, bucket, count(*) AS number FROM losses
            GROUP BY GROUPING SETS ((dataset, bucket), (bucket))),
        counted AS (
            SELECT *, sum(number) OVER (PARTITION BY scope ORDER BY bucket) AS upto,
                sum(number) OVER (PARTITION BY scope) AS total FROM buckets),
        chosen AS (SELECT scope, bucket, upto - number AS before, total FROM counted WHERE {middle}),
        found AS (
            SELECT scope, bucket, before, total, loss, count(*) AS number FROM losses JOIN chosen USING (bucket)
            WHERE scope IS NULL OR scope = dataset GROUP BY ALL),
        ranked AS (
            SELECT *, before + sum(number) OVER (PARTITION BY scope, bucket ORDER BY loss) AS upto FROM found)
        SELECT scope, {_MIDPOINT} FROM ranked WHERE {middle} GROUP BY scope""")
    return dict(rows.fetchall())
