"""The data of the report's charts, computed in DuckDB: bins of losses, and means and quartiles over steps."""

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
KEPT = 1024  # losses of a point that its quartiles are of, about: chosen by a hash, the same in any order
LINES = 6  # lines in one chart, at most
PARTS = 12  # components, at most


Scope = tuple[Any, ...]  # run, split and dataset; None for a run or a split without a name


class Bins(NamedTuple):
    """Bins of equal width, and the number of losses in each bin, by run, split and dataset.

    Args:
        low: start of the first bin; its power of ten, if `log`.
        width: of every bin; in powers of ten, if `log`.
        size: number of bins.
        log: bins have equal widths on a logarithmic scale.
        counts: the losses below the first bin, in each of the `size` bins, and above the last.
    """

    low: float
    width: float
    size: int
    log: bool
    counts: dict[Scope, list[int]]

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
        """Sum all counts."""
        return [sum(column) for column in zip(*self.counts.values(), strict=True)]

    def of(self, run: str | None, split: str | None, dataset: str | None = None) -> list[int]:
        """Sum the counts of a run and split, or of one of its datasets; empty where no loss is finite."""
        chosen = [
            counts for (*part, name), counts in self.counts.items() if part == [run, split] and dataset in (None, name)
        ]
        return [sum(column) for column in zip(*chosen, strict=True)]


class Point(NamedTuple):
    """The rows of a line between two steps; mean and quartiles of the finite losses, None without any."""

    step: float
    mean: float | None
    low: float | None
    middle: float | None
    high: float | None
    not_finite: int
    parts: tuple[float | None, ...]


class Line(NamedTuple):
    """A run and split."""

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
        several: there are several runs.
    """

    unit: str
    first: int
    width: int
    components: tuple[str, ...]
    lines: list[Line]
    left_out: int
    several: bool


def bins(connection: DuckDBPyConnection) -> Bins | None:
    """Count all losses in the same bins; None if no loss is finite, or all are equal."""
    span = _span(connection)
    if span is None:
        return None
    low, high, log = span
    if log:
        low, high = math.log10(low), math.log10(high)
    width = round_step(low, high, BINS)
    first = math.floor(low / width + 1e-9)
    last = max(first, math.ceil(high / width - 1e-9) - 1)  # losses may be smaller than any width
    place = "CASE WHEN loss > 0 THEN log10(loss) ELSE -1e9 END" if log else "loss"
    # Losses outside the edges are in one more bin on each side; a loss on the last edge is in the last bin.
    found = connection.execute(
        f"SELECT nullif(run, ''), nullif(split, ''), dataset AS name, CASE WHEN {place} = $high THEN $last"
        f" ELSE least(greatest(floor({place} * $scale), $first - 1), $last + 1) END::BIGINT AS bin, count(*)"
        " FROM records WHERE isfinite(loss) GROUP BY ALL ORDER BY ALL",
        {"scale": 1 / width, "first": float(first), "last": float(last), "high": (last + 1) * width},
    ).fetchall()
    counts: dict[Scope, list[int]] = {}
    for *scope, bin, rows in found:
        counts.setdefault(tuple(scope), [0] * (last - first + 3))[bin - first + 1] = rows
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
    """Compute means and quartiles over steps for each split; None if all rows are of one step, or of none."""
    for unit in ("epoch",) if _restart(connection) else ("step", "epoch"):
        first, last = _one(connection, f"SELECT min({unit}), max({unit}) FROM records")
        if first is not None:
            return _steps(connection, unit, first, last, tuple(components[:PARTS])) if last > first else None
    return None


def _restart(connection: DuckDBPyConnection) -> bool:
    """Check whether each epoch counts its steps from the start: then epochs alone order time."""
    return bool(
        _one(
            connection,
            "SELECT 1 FROM (SELECT low <= max(high) OVER (PARTITION BY run, split ORDER BY epoch ROWS BETWEEN UNBOUNDED"
            " PRECEDING AND 1 PRECEDING) AS again FROM (SELECT run, split, epoch, min(step) AS low, max(step) AS high"
            " FROM records WHERE epoch IS NOT NULL AND step IS NOT NULL GROUP BY ALL)) WHERE again LIMIT 1",
        )
    )


def _steps(connection: DuckDBPyConnection, unit: str, first: int, last: int, components: tuple[str, ...]) -> Steps:
    width = -(-(last - first + 1) // STEPS)
    groups = connection.execute(
        f"SELECT coalesce(run, ''), coalesce(split, ''), count(*) FROM records WHERE {unit} IS NOT NULL"
        " GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    ).fetchall()
    names = [(run, split) for run, split, _ in groups]
    several = len({run for run, _ in names}) > 1
    columns = "".join(f", {_mean(identifier(COMPONENT + name))}" for name in components)
    every = max(1, sum(rows for _, _, rows in groups) // (len(names) * STEPS * KEPT))
    found = connection.execute(
        f"SELECT coalesce(run, ''), coalesce(split, ''), ({unit} - $first) // $width AS bin, avg({unit}),"
        f" {_mean('loss')}, quantile_cont(loss, [0.25, 0.5, 0.75])"
        f" FILTER (isfinite(loss) AND hash(row_id) % $every = 0), count(*) FILTER (NOT isfinite(loss)){columns}"
        f" FROM records WHERE {unit} IS NOT NULL GROUP BY ALL ORDER BY bin",
        {"first": first, "width": width, "every": every},
    ).fetchall()
    lines: dict[tuple[Any, str], list[Point]] = {name: [] for name in names[:LINES]}
    for run, split, _, place, mean, quartiles, not_finite, *parts in found:
        if (run, split) in lines:
            low, middle, high = _quartiles(quartiles, _finite(mean))
            numbers = tuple(map(_finite, parts))
            lines[run, split].append(Point(place, _finite(mean), low, middle, high, not_finite, numbers))
    drawn = [Line(run, split, points) for (run, split), points in lines.items()]
    return Steps(unit, first, width, components, drawn, len(names) - len(drawn), several)


def _quartiles(found: Sequence[float] | None, mean: float | None) -> Sequence[float | None]:
    """Return the three quartiles, or three times the mean where no loss was chosen or a difference overflowed."""
    return found if found and all(map(math.isfinite, found)) else (mean, mean, mean)


def _mean(column: str) -> str:
    return f"sum(weight * {column}) FILTER (isfinite({column})) / sum(weight) FILTER (isfinite({column}))"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # a sum of huge losses is infinite


def _one(connection: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    return row or ()
