"""The data of the report's charts, computed in DuckDB: bins of losses, and means over steps."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.records.database import identifier
from lossreg.records.record_schema import COMPONENT
from lossreg.records.report.axes import round_step

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BINS = 40  # approximately: their edges are round numbers
TAIL = 0.005  # share of rows on each side that bins leave out if the tails are long
SKEW = 20  # bins are powers of ten if the upper half is this many times as wide as the lower half
STEPS = 200  # points of a line, at most
LINES = 6  # lines in one chart, at most
PARTS = 12  # components, at most


class Bins(NamedTuple):
    """Bins of equal width, and the number of losses of each dataset in each bin.

    Args:
        low: start of the first bin; its power of ten, if `log`.
        width: of every bin; in powers of ten, if `log`.
        size: number of bins.
        log: bins have equal widths on a logarithmic scale.
        counts: by dataset: the losses below the first bin, in each of the `size` bins, and above the last.
    """

    low: float
    width: float
    size: int
    log: bool
    counts: dict[str, list[int]]

    def edge(self, number: int) -> float:
        """Compute the loss at the start of a bin; with `size`, at the end of the last."""
        place = self.low + self.width * number
        if self.log:
            return float(10 ** min(max(place, -307.0), 308.25))  # the range of floats
        return min(max(place, -sys.float_info.max), sys.float_info.max)

    def place(self, loss: float) -> float:
        """Compute the position of a loss, in bins from the start of the first."""
        if self.log:
            loss = math.log10(loss) if loss > 0 else -math.inf
        return loss / self.width - self.low / self.width

    def total(self) -> list[int]:
        """Sum the counts of all datasets."""
        return [sum(column) for column in zip(*self.counts.values(), strict=True)]


class Point(NamedTuple):
    """The rows of a line between two steps; mean, minimum and maximum of the finite losses, None without any."""

    step: float
    mean: float | None
    minimum: float | None
    maximum: float | None
    not_finite: int
    parts: tuple[float | None, ...]


class Line(NamedTuple):
    """A split; of one run if each run has its own line."""

    run: str
    split: str
    points: list[Point]


class Steps(NamedTuple):
    """Lines over steps, or over epochs if no row has a step.

    Args:
        unit: "step" or "epoch".
        first: the first step.
        width: steps of one point.
        components: the names of `Point.parts`.
        left_out: number of lines that are not drawn: those of the fewest rows.
    """

    unit: str
    first: int
    width: int
    components: tuple[str, ...]
    lines: list[Line]
    left_out: int


def bins(connection: DuckDBPyConnection) -> Bins | None:
    """Count the losses of every dataset in the same bins; None if no loss is finite, or all are equal."""
    span = _span(connection)
    if span is None:
        return None
    low, high, log = span
    if log:
        low, high = math.log10(low), math.log10(high)
    width = round_step(low, high, BINS)
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9) - 1
    place = "CASE WHEN loss > 0 THEN log10(loss) ELSE -1e9 END" if log else "loss"
    # Losses outside the edges are in one more bin on each side; a loss on the last edge is in the last bin.
    found = connection.execute(
        f"SELECT dataset AS name, CASE WHEN {place} = $high THEN $last"
        f" ELSE least(greatest(floor({place} * $scale), $first - 1), $last + 1) END::BIGINT AS bin, count(*)"
        " FROM records WHERE isfinite(loss) GROUP BY ALL ORDER BY ALL",
        {"scale": 1 / width, "first": float(first), "last": float(last), "high": (last + 1) * width},
    ).fetchall()
    counts: dict[str, list[int]] = {}
    for name, bin, rows in found:
        counts.setdefault(name, [0] * (last - first + 3))[bin - first + 1] = rows
    return Bins(first * width, width, last - first + 1, log, counts)


def _span(connection: DuckDBPyConnection) -> tuple[float, float, bool] | None:
    """Find the range of losses to draw, without long tails, and whether its scale is logarithmic.

    Losses are counted in buckets 4 % wide, in memory that does not grow with the rows.
    """
    buckets = connection.execute(
        "SELECT min(loss), max(loss), count(*) FROM records WHERE isfinite(loss)"
        " GROUP BY sign(loss), CASE WHEN loss = 0 THEN 0 ELSE floor(16 * log2(abs(loss))) END ORDER BY 1"
    ).fetchall()
    if not buckets:
        return None
    least, most = buckets[0][0], buckets[-1][1]
    rows = sum(rows for _, _, rows in buckets)
    low = _edge_after([(low, rows) for low, _, rows in buckets], TAIL * rows)
    middle = _edge_after([(high, rows) for _, high, rows in buckets], rows / 2)
    high = _edge_after([(high, rows) for _, high, rows in reversed(buckets)], TAIL * rows)
    if low > 0 and high / 2 - low / 2 > SKEW * (middle / 2 - low / 2) and high / low > SKEW:
        return (least if least > 0 and low / least < SKEW else low), (most if most / high < SKEW else high), True
    if most / 2 - least / 2 <= high - low:  # the tails are shorter than the body
        low, high = least, most
    if 0 < low < 0.35 * high:
        low = 0.0
    return None if high / 2 - low / 2 <= 1e-12 * max(abs(low), abs(high)) else (low, high, False)


def _edge_after(buckets: Sequence[tuple[float, int]], limit: float) -> float:
    """Find the edge of the first bucket at which more than `limit` rows are counted."""
    counted = 0
    for edge, rows in buckets:
        counted += rows
        if counted > limit:
            return edge
    return buckets[-1][0]


def steps(connection: DuckDBPyConnection, components: Sequence[str]) -> Steps | None:
    """Compute means over steps for each split; None if rows have neither steps nor epochs, or a single one."""
    for unit in ("step", "epoch"):
        first, last = _one(connection, f"SELECT min({unit}), max({unit}) FROM records")
        if first is not None:
            return _steps(connection, unit, first, last, tuple(components[:PARTS])) if last > first else None
    return None


def _steps(connection: DuckDBPyConnection, unit: str, first: int, last: int, components: tuple[str, ...]) -> Steps:
    width = -(-(last - first + 1) // STEPS)
    groups = connection.execute(
        f"SELECT run, coalesce(split, ''), count(*) FROM records WHERE {unit} IS NOT NULL"
        " GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    ).fetchall()
    by_run = len({run for run, _, _ in groups}) > 1 and len(groups) <= LINES
    names = dict.fromkeys((run if by_run else None, split) for run, split, _ in groups)
    columns = "".join(f", {_mean(identifier(COMPONENT + name))}" for name in components)
    found = connection.execute(
        f"SELECT {'run' if by_run else 'NULL'}, coalesce(split, ''), ({unit} - $first) // $width AS bin, avg({unit}),"
        f" {_mean('loss')}, min(loss) FILTER (isfinite(loss)), max(loss) FILTER (isfinite(loss)),"
        f" count(*) FILTER (NOT isfinite(loss)){columns}"
        f" FROM records WHERE {unit} IS NOT NULL GROUP BY ALL ORDER BY bin",
        {"first": first, "width": width},
    ).fetchall()
    lines: dict[tuple[Any, str], list[Point]] = {name: [] for name in list(names)[:LINES]}
    for run, split, _, place, mean, least, most, not_finite, *parts in found:
        if (run, split) in lines:
            point = Point(place, _finite(mean), least, most, not_finite, tuple(map(_finite, parts)))
            lines[run, split].append(point)
    drawn = [Line(run or "", split, points) for (run, split), points in lines.items()]
    return Steps(unit, first, width, components, drawn, len(names) - len(drawn))


def _mean(column: str) -> str:
    return f"sum(weight * {column}) FILTER (isfinite({column})) / sum(weight) FILTER (isfinite({column}))"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # a sum of huge losses is infinite


def _one(connection: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    return row or ()
