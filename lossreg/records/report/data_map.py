"""The data map: every example by the mean and the deviation of its scores. Of many examples a sample, over counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.records.report.axes import Axis, Tick, axis
from lossreg.records.report.charts import HEIGHT, WIDTH
from lossreg.records.report.hardest import NAMED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_POINTS = 1500  # examples that are all drawn; of more, SAMPLE are, over counts
SAMPLE = 600
COLUMNS, ROWS = 40, 24  # of the counts
FAR = 0.001  # share of examples on each side that the frame may leave out
SHADES = 5


_FIELDS = ("run", "split", "dataset", "key", "lone", "kind", "score", "deviation", "colour")


class Dot(NamedTuple):
    """An example: its place in the frame, its two numbers, and its name."""

    x: float
    y: float
    deviation: float
    score: float
    colour: str
    name: str
    id: str
    run: str
    split: str
    dataset: str


class Cell(NamedTuple):
    """A part of the frame with the number of its examples, and its middle in numbers."""

    x: float
    y: float
    deviation: float
    score: float
    examples: int
    shade: int


class DataMap(NamedTuple):
    """The map.

    Args:
        drawn: examples in it: those that were seen at least twice.
        dots: examples with a name: all, or a sample and what the page lists.
        cells: counts of all examples, where dots are a sample.
    """

    across: Axis
    up: Axis
    x: list[Tick]
    y: list[Tick]
    drawn: int
    once: int
    dots: list[Dot]
    cells: list[Cell]
    cell_width: float
    cell_height: float


def data_map(connection: DuckDBPyConnection, table: str, listed: Sequence[Mapping[str, Any]]) -> DataMap | None:
    """Compute the map; None if no example was seen twice.

    Args:
        table: the query of all examples, such as `hardest.RANKED`.
        listed: examples of the page, of the same fields: these are drawn in any case.
    """
    ((drawn, every),) = connection.execute(f"SELECT count(deviation), count(*) FROM {table}").fetchall()
    if not drawn:
        return None
    few = drawn <= MOST_POINTS
    ends = [0.0, 1.0] if few else [FAR, 1 - FAR]
    query = f"SELECT quantile_cont(deviation, $ends), quantile_cont(score, $ends) FROM {table} WHERE deviation >= 0"
    ((sideways, upright),) = connection.execute(query, {"ends": ends}).fetchall()
    shown = [example for example in listed if example["deviation"] is not None]
    across = axis([0.0, *sideways, *(e["deviation"] for e in shown)], may_be_log=False)
    up = axis([*upright, *(e["score"] for e in shown)], may_be_log=False)
    rows = connection.execute(
        f"SELECT {', '.join(_FIELDS)} FROM {table} WHERE deviation IS NOT NULL"
        " ORDER BY md5_number_lower(key), run, split, dataset, lone LIMIT $most",
        {"most": MOST_POINTS if few else SAMPLE},
    ).fetchall()
    rows += [tuple(example[name] for name in _FIELDS) for example in shown]
    dots = {row[:5]: _dot(row, across, up) for row in rows}
    return DataMap(
        across,
        up,
        across.ticks(6),
        up.ticks(5),
        drawn,
        every - drawn,
        sorted(dots.values(), key=lambda dot: dot.colour != ""),  # those with a colour lie on top
        [] if few else _cells(connection, table, across, up),
        round(WIDTH / COLUMNS, 2),
        round(HEIGHT / ROWS, 2),
    )


def _dot(row: tuple[Any, ...], across: Axis, up: Axis) -> Dot:
    run, split, dataset, name, _, kind, score, deviation, colour = row
    x, y = (min(1.0, max(0.0, place)) for place in (across.place(deviation), up.place(score)))
    return Dot(
        round(WIDTH * x, 1),
        round(HEIGHT * (1 - y), 2),
        deviation,
        score,
        colour,
        name,
        name if kind == NAMED else "",
        run or "",
        split or "",
        dataset,
    )


def _cells(connection: DuckDBPyConnection, table: str, across: Axis, up: Axis) -> list[Cell]:
    """Count the examples in each part of the frame; those beyond it in the parts at its sides."""
    wide, high = (across.high - across.low) / COLUMNS, (up.high - up.low) / ROWS
    found = connection.execute(
        "SELECT least(greatest(floor((deviation - $left) / $wide), 0), $columns - 1)::INTEGER AS column_,"
        " least(greatest(floor((score - $bottom) / $high), 0), $rows - 1)::INTEGER AS row_, count(*)"
        f" FROM {table} WHERE deviation IS NOT NULL GROUP BY ALL ORDER BY ALL",
        {"left": across.low, "wide": wide, "bottom": up.low, "high": high, "columns": COLUMNS, "rows": ROWS},
    ).fetchall()
    most = max(count for _, _, count in found)
    return [
        Cell(
            round(WIDTH * column / COLUMNS, 2),
            round(HEIGHT * (1 - (row + 1) / ROWS), 2),
            across.low + (column + 0.5) * wide,
            up.low + (row + 0.5) * high,
            count,
            max(1, -(-SHADES * count.bit_length() // most.bit_length())),
        )
        for column, row, count in found
    ]
