"""Contemporaries: the window of time, the bin of the noise level and the part of the run that a row belongs to.

Windows hold consecutive rows, about 128 in each of their cells, so they are as long as the records allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.records.examples import example_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS = 128  # of a cell: a window and a bin
WINDOWS = 2048  # at most, of a part
BINS = 20  # of the condition, at most
KEPT = 2**23  # values that enter quartiles, about: 8 bytes each, in memory
WHOLE = 2**16  # rows of a part that is always kept whole
REPEATED = 200_000  # rows among which equal ones are looked for

PART = "run, split, unconditional, draw"
# Losses beyond 1e150 are scaled by a power of two, so that no difference of two overflows.
_SCALE = f"CASE WHEN max(abs(loss)) > 1e150 THEN {2.0**-600!r} ELSE 1 END"
_EDGES = [number / BINS for number in range(1, BINS)]


def make_looks(connection: DuckDBPyConnection, *, together: bool) -> None:
    """Make the view `rank_look`: every row with a finite loss, and the cells that it is compared in.

    Args:
        connection: from `reader.connect`.
        together: one ranking of all runs and splits; otherwise each has its own.
    """
    own = "NULL" if together else "{}"
    connection.execute(f"""
        CREATE TEMP VIEW rank_row AS SELECT {own.format("nullif(run, '')")}::VARCHAR AS of_run,
            {own.format("nullif(split, '')")}::VARCHAR AS of_split,
            coalesce(run, '') AS run, coalesce(split, '') AS split, dataset, key, lone, kind, epoch, step, loss, draw,
            coalesce(unconditional, false) AS unconditional,
            CASE WHEN NOT isnan(condition) THEN condition END AS condition, coalesce(control, false) AS control
        FROM {example_rows(connection)} WHERE isfinite(loss)""")
    if _repeated(connection):
        connection.execute("CREATE TEMP TABLE rank_once AS SELECT DISTINCT * FROM rank_row")
    else:
        connection.execute("CREATE TEMP VIEW rank_once AS FROM rank_row")
    _make_parts(connection)
    _make_moments(connection)
    _join(connection)


def equal(left: str, right: str, columns: str) -> str:
    """Write that two tables have equal columns, or both none."""
    return " AND ".join(f"{left}.{name} IS NOT DISTINCT FROM {right}.{name}" for name in columns.split(", "))


def _repeated(connection: DuckDBPyConnection) -> bool:
    """Find whether a step has equal rows of one example, as a pass does that was repeated: they count once.

    A sample of the examples is read: what repeats a pass repeats it for all.
    """
    ((rows,),) = connection.execute("SELECT count(*) FROM rank_row").fetchall()
    some = f"WHERE hash(key) % {rows // REPEATED} = 0" if rows >= 2 * REPEATED else ""
    query = f"SELECT 1 FROM rank_row {some} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
    columns = "run, split, dataset, key, lone, epoch, step, draw, unconditional, condition, loss"
    return bool(connection.execute(query.replace("GROUP BY ALL", f"GROUP BY {columns}")).fetchall())


def _make_parts(connection: DuckDBPyConnection) -> None:
    """Make the table `rank_part`: rows that are compared with each other, and the edges of their bins."""
    connection.execute(f"""
        CREATE TEMP TABLE rank_part AS SELECT *, len(edges) + 1 AS bins, CAST(least({WINDOWS},
                greatest(1, rows // ({ROWS} * (len(edges) + 1)))) AS BIGINT) AS windows,
            CASE WHEN rows > {WHOLE} THEN greatest(1, CAST(sum(rows) OVER () AS BIGINT) // {KEPT}) ELSE 1 END AS one_in
        FROM (
            SELECT * EXCLUDE (twentieths, known, lowest, most), row_number() OVER () AS part,
                coalesce([edge FOR edge IN
                    list_sort(list_distinct([twentieths[n * {BINS} // most] FOR n IN range(1, most)]))
                    IF edge > lowest], []) AS edges
            FROM (SELECT *, greatest(1, least({BINS}, known // {ROWS})) AS most FROM (
                SELECT {PART}, count(*) AS rows, count(condition) AS known, min(condition) AS lowest, {_SCALE} AS scale,
                    quantile_disc(condition, {_EDGES}) AS twentieths
                FROM rank_once GROUP BY {PART})))""")


def _make_moments(connection: DuckDBPyConnection) -> None:
    """Make the table `rank_moment`: the windows of each step. Where steps begin again, epochs part them.

    A part of few rows has bins and one window. It is `timeless`: its windows without bins, `w_t`, tell the time.
    """
    time = "ORDER BY epoch NULLS FIRST, step NULLS FIRST"
    connection.execute(f"""
        CREATE TEMP TABLE rank_moment AS
        SELECT * EXCLUDE (upto, upto_ds, rows_ds), CAST((upto - 1) * windows // of_part AS BIGINT) AS w,
            windows = 1 AND len(edges) > 0 AS timeless,
            CAST((upto - 1) * {_windows("of_part")} // of_part AS BIGINT) AS w_t,
            CAST((upto_ds - 1) * {_windows("rows_ds")} // rows_ds AS BIGINT) AS w_ds
        FROM (
            SELECT counted.*, part, scale, edges, windows, one_in, rank_part.rows AS of_part,
                sum(counted.rows) OVER (PARTITION BY part {time}) AS upto,
                sum(counted.rows) OVER (PARTITION BY counted.run, counted.split, dataset {time}) AS upto_ds,
                sum(counted.rows) OVER (PARTITION BY counted.run, counted.split, dataset) AS rows_ds
            FROM (SELECT {PART}, dataset, epoch, step, count(*) AS rows FROM rank_once GROUP BY ALL) AS counted
            JOIN rank_part ON {equal("counted", "rank_part", PART)})""")


def _windows(rows: str) -> str:
    return f"least({WINDOWS}, greatest(1, {rows} // {ROWS}))"


def _join(connection: DuckDBPyConnection) -> None:
    ((binned, sampled),) = connection.execute("SELECT max(bins) > 1, max(one_in) > 1 FROM rank_part").fetchall()
    known = "condition IS NOT NULL"
    bin_ = f"CASE WHEN {known} THEN len(list_filter(edges, lambda edge: edge <= condition)) ELSE -1 END"
    kept = "md5_number_lower(concat_ws('/', key, once.epoch, once.step, once.draw)) % one_in = 0" if sampled else "true"
    same = equal("once", "moment", f"{PART}, dataset, epoch, step")
    connection.execute(f"""
        CREATE TEMP VIEW rank_look AS SELECT once.*, part, w, timeless, w_t, w_ds, loss * scale AS value,
            {kept} AS kept, {bin_ if binned else 0} AS bin
        FROM rank_once AS once JOIN rank_moment AS moment ON {same}""")
