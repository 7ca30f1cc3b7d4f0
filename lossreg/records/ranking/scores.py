"""The score of each row, and its sums over the looks at an example: whole numbers, the same in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.records.ranking.cells import make_cells, make_dataset_cells, make_time_cells
from lossreg.records.ranking.windows import equal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCORE = 2**20  # of a score of 1
WEIGHT = 2**10  # of a weight of 1
_FIXED = 0.9  # share of the examples whose looks are equal, if a pass was repeated with one model
_ROUNDING = 1e-6  # relative difference of losses that are equal but for the rounding of a device

EXAMPLE = "of_run, of_split, dataset, key, lone"


def make_scores(connection: DuckDBPyConnection) -> None:
    """Make the table `rank_example`: looks and sums of each example; of a repeated pass, each look once."""
    make_cells(connection)
    connection.execute(f"""
        CREATE TEMP VIEW rank_z AS SELECT look.*,
            CAST(greatest(1, round(coalesce(weight, 1) * {WEIGHT})) AS HUGEINT) AS weight,
            coalesce({_bounded("(value - middle) / spread")}, 0) AS z
        FROM rank_look AS look LEFT JOIN rank_cell USING (part, bin, w)""")
    _make_rest(connection)
    make_dataset_cells(connection)
    scope = equal("rank_rest", "cell", "run, split, dataset, w_ds")
    score = _bounded("(z - coalesce(cell.middle, 0)) / coalesce(cell.spread, 1)")
    connection.execute(f"""
        CREATE TEMP TABLE rank_draw AS
        SELECT {EXAMPLE}, draw, max(kind) AS kind, bool_or(control) AS control, count(*) AS looks,
            sum(weight) AS weight, sum(weight * weight) AS weights, sum(weight * k) AS total,
            sum(weight * k * k) AS squares, sum(weight * level) AS level,
            fsum(loss) AS loss, min(loss) AS minimum, max(loss) AS maximum
        FROM (
            SELECT rank_rest.*, CAST(round(asinh(z) * {SCORE}) AS HUGEINT) AS level,
                CAST(round(asinh({score}) * {SCORE}) AS HUGEINT) AS k
            FROM rank_rest LEFT JOIN rank_dataset_cell AS cell ON {scope})
        GROUP BY {EXAMPLE}, draw""")
    _make_examples(connection)


def _make_rest(connection: DuckDBPyConnection) -> None:
    """Make the view `rank_rest`: each row as far as its bin and its time do not explain its loss."""
    ((timeless,),) = connection.execute("SELECT coalesce(bool_or(timeless), false) FROM rank_moment").fetchall()
    if not timeless:
        connection.execute("CREATE TEMP VIEW rank_rest AS FROM rank_z")
        return
    make_time_cells(connection)
    rest = _bounded("(z - coalesce(cell.middle, 0)) / coalesce(cell.spread, 1)")
    connection.execute(f"""
        CREATE TEMP VIEW rank_rest AS SELECT rank_z.* REPLACE ({rest} AS z)
        FROM rank_z LEFT JOIN rank_time_cell AS cell ON cell.part = rank_z.part AND cell.w_t = rank_z.w_t""")


def _bounded(value: str) -> str:
    """Write a number, or the bound beyond which it would overflow."""
    return f"greatest(least({value}, 1e300), -1e300)"


def _make_examples(connection: DuckDBPyConnection) -> None:
    """Make the tables `rank_fixed` and `rank_example`. Without several draws `rank_draw` has each example once."""
    ((several,),) = connection.execute("SELECT count(*) > 1 FROM (SELECT DISTINCT draw FROM rank_part)").fetchall()
    total, fsum, low, high, any_ = ("sum", "fsum", "min", "max", "bool_or") if several else ("",) * 5
    same = f"maximum - minimum <= {_ROUNDING} * greatest(abs(minimum), abs(maximum))"
    once = "CASE WHEN fixed THEN {0} // looks ELSE {0} END"
    sums = ", ".join(f"{total}({once.format(name)}) AS {name}" for name in ("weight", "total", "squares", "level"))
    alone = "(weight // looks) * (weight // looks)"
    mean = f"least(greatest({fsum}(loss) / {total}(looks), {low}(minimum)), {high}(maximum))"
    connection.execute(f"""
        CREATE TEMP TABLE rank_fixed AS SELECT of_run, of_split,
            coalesce(count(*) FILTER (looks > 1 AND {same}) >= {_FIXED} * nullif(count(*) FILTER (looks > 1), 0), false)
                AS fixed
        FROM rank_draw GROUP BY of_run, of_split""")
    connection.execute(f"""
        CREATE TEMP TABLE rank_example AS
        SELECT {EXAMPLE}, {high}(kind) AS kind, {any_}(control) AS control,
            CAST({total}(CASE WHEN fixed THEN 1 ELSE looks END) AS BIGINT) AS looks, {sums},
            {total}(CASE WHEN fixed THEN {alone} ELSE weights END) AS weights, {total}(looks) AS rows,
            CASE WHEN isfinite({fsum}(loss)) THEN {mean} END AS mean
        FROM (SELECT rank_draw.*, fixed FROM rank_draw
            JOIN rank_fixed ON {equal("rank_draw", "rank_fixed", "of_run, of_split")})
        {f"GROUP BY {EXAMPLE}" if several else ""}""")
    connection.execute("DROP TABLE rank_draw")
