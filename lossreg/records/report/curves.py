"""The curve of one example over time, beside the middle of all: a small chart in its row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.records.examples import example_rows
from lossreg.records.report.axes import Axis, axis, loss_text
from lossreg.records.report.charts import HEIGHT, WIDTH
from lossreg.records.report.hardest import CHOSEN, SAME, chosen
from lossreg.records.report.series import Line, Steps

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

POINTS = 40  # of a curve, at most
MARGIN = 6.0  # above and below the curve


class Curve(NamedTuple):
    """The paths of an example and of the middle of all, and what they show in words."""

    own: str
    middle: str
    words: str


Place = tuple[float, float]  # a step, and the mean loss there


def curves(
    connection: DuckDBPyConnection, examples: Sequence[Mapping[str, Any]], steps: Steps | None, decimals: int
) -> list[Curve | None]:
    """Draw the losses of each example; None for one that was seen at fewer than two points of the axis.

    Args:
        examples: from `hardest.lists`.
        steps: the axis, and the middle of all.
    """
    if not steps or not examples:
        return [None] * len(examples)
    found = _places(connection, examples, steps)
    return [_curve(found[number], _line(steps, example), steps, decimals) for number, example in enumerate(examples)]


def _places(
    connection: DuckDBPyConnection, examples: Sequence[Mapping[str, Any]], steps: Steps
) -> dict[int, list[Place]]:
    last = max(point.step for line in steps.lines for point in line.points)
    width = max(1, -(-int(last - steps.first + 1) // POINTS))
    rows = connection.execute(
        f"SELECT number, avg({steps.unit}), avg(loss) FROM {example_rows(connection)} AS every JOIN {CHOSEN} ON {SAME}"
        f" WHERE isfinite(loss) AND {steps.unit} IS NOT NULL"
        f" GROUP BY number, ({steps.unit} - $first) // $width HAVING isfinite(avg(loss)) ORDER BY 1, 2",
        chosen(examples) | {"first": steps.first, "width": width},
    ).fetchall()
    found: dict[int, list[Place]] = defaultdict(list)
    for number, step, loss in rows:
        found[number].append((step, loss))
    return found


def _line(steps: Steps, example: Mapping[str, Any]) -> Line | None:
    """Find the line of an example's run and split; None if it is not drawn."""
    own = (example["run"] or "", example["split"] or "")
    return next((line for line in steps.lines if (line.run, line.split) == own), None)


def _curve(own: Sequence[Place], line: Line | None, steps: Steps, decimals: int) -> Curve | None:
    if len(own) < 2:
        return None
    across = Axis(steps.first, max(steps.first + 1, *(point.step for each in steps.lines for point in each.points)))
    points = [(point.step, point.middle) for point in line.points if point.middle is not None] if line else []
    middle = points[:: max(1, -(-len(points) // POINTS))]
    up = axis([loss for _, loss in (*own, *middle)])
    (first, start), (last, end) = own[0], own[-1]
    words = (
        f"{steps.unit} {first:,.0f}: {loss_text(start, decimals)}; {steps.unit} {last:,.0f}: {loss_text(end, decimals)}"
    )
    return Curve(_path(own, across, up), _path(middle, across, up), words)


def _path(places: Sequence[Place], across: Axis, up: Axis) -> str:
    high = HEIGHT - 2 * MARGIN
    drawn = [f"{WIDTH * across.place(step):.0f} {MARGIN + high * (1 - up.place(loss)):.0f}" for step, loss in places]
    return "M" + "L".join(drawn) if drawn else ""
