"""The middle and the spread of each cell, from its quartiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.records.ranking.windows import equal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FEW = 16  # rows: the quartiles of fewer say little
_UNIT = 2.0**30
# The first that is not 0, of deviations that are equal for normal numbers: where most losses are equal, the tails tell.
_SPREADS = ("(q[4] - q[2]) / 1.349", "(q[5] - q[1]) / 3.29", "(high - low) / 5.2")


def make_cells(connection: DuckDBPyConnection) -> None:
    """Make the table `rank_cell`: middle, spread and weight of each part, bin and window.

    Where a cell has few rows, or a sample kept few, the rows of its bin over all time stand for it. Windows in
    which the examples differ less than usual, as they do once everybody is known by heart, weigh less.
    """
    _make_quartiles(connection, "rank_quartile", "rank_look", "value", "part, bin", "w")
    # Whole numbers are added, so that no order of the rows changes a digit.
    usual = f"sum(CAST(round(spread / most * {_UNIT}) AS HUGEINT) * rows) OVER bins / sum(rows) OVER bins"
    connection.execute(f"""
        CREATE TEMP TABLE rank_cell AS
        SELECT part, bin, w, middle, rows, spread AS differ,
            coalesce(nullif(spread, 0), nullif(usual, 0), 1) AS spread,
            CASE WHEN usual > 0 THEN least(1, spread / usual) ELSE 1 END AS weight
        FROM (
            SELECT *, coalesce({usual} / {_UNIT} * most, 0) AS usual
            FROM (SELECT *, nullif(max(spread) OVER (PARTITION BY part, bin), 0) AS most FROM (
                SELECT whole.part, whole.bin, time.w, coalesce(own.rows, 0) AS rows,
                    coalesce(own.middle, whole.middle) AS middle, coalesce(own.spread, whole.spread) AS spread
                FROM rank_quartile AS whole
                JOIN (SELECT DISTINCT part, w FROM rank_moment) AS time USING (part)
                LEFT JOIN rank_quartile AS own ON {equal("whole", "own", "part, bin")} AND own.w = time.w
                    AND NOT own.whole AND own.rows >= {FEW}
                WHERE whole.whole))
            WINDOW bins AS (PARTITION BY part, bin))""")


def make_time_cells(connection: DuckDBPyConnection) -> None:
    """Make the table `rank_time_cell`: middle and spread of the rest of the losses at each time, of timeless parts."""
    _make_rest_cells(connection, "rank_time", "(FROM rank_z WHERE timeless)", "part", "w_t")


def make_dataset_cells(connection: DuckDBPyConnection) -> None:
    """Make the table `rank_dataset_cell`: middle and spread of the rest of the losses, within each data set.

    A data set of few rows has no cell: it is compared with all others alone.
    """
    _make_rest_cells(connection, "rank_dataset", "rank_rest", "run, split, dataset", "w_ds")


def _make_rest_cells(connection: DuckDBPyConnection, name: str, source: str, scope: str, window: str) -> None:
    """Make the table of the cells of each scope and window; where a window has few rows, those of all time."""
    _make_quartiles(connection, f"{name}_quartile", source, "z", scope, window)
    wholes = ", ".join(f"whole.{column}" for column in scope.split(", "))
    connection.execute(f"""
        CREATE TEMP TABLE {name}_cell AS
        SELECT {wholes}, time.{window}, coalesce(own.middle, whole.middle) AS middle,
            coalesce(nullif(own.spread, 0), nullif(whole.spread, 0), 1) AS spread
        FROM {name}_quartile AS whole
        JOIN (SELECT DISTINCT {scope}, {window} FROM rank_moment) AS time ON {equal("whole", "time", scope)}
        LEFT JOIN {name}_quartile AS own ON {equal("whole", "own", scope)} AND own.{window} = time.{window}
            AND NOT own.whole AND own.rows >= {FEW}
        WHERE whole.whole AND whole.rows >= {FEW}""")


def _make_quartiles(
    connection: DuckDBPyConnection, table: str, source: str, value: str, scope: str, window: str
) -> None:
    """Make a table of the quartiles of each scope in each window and, where `whole` is true, over all time."""
    spread = ", ".join(f"nullif({one}, 0)" for one in _SPREADS)
    connection.execute(f"""
        CREATE TEMP TABLE {table} AS SELECT {scope}, {window}, whole, rows, q[3] AS middle,
            coalesce({spread}, 0) AS spread
        FROM (
            SELECT {scope}, {window}, grouping({window}) = 1 AS whole, count(*) AS rows, min({value}) AS low,
                max({value}) AS high, quantile_cont({value}, [0.05, 0.25, 0.5, 0.75, 0.95]) AS q
            FROM {source} WHERE kept GROUP BY GROUPING SETS (({scope}, {window}), ({scope})))""")
