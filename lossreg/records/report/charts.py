"""The geometry of the report's charts: paths in a frame of 1000 by 100, which the page stretches to its width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from lossreg.records.report.axes import Axis, Tick, axis, loss_text, tick_labels
from lossreg.records.report.series import Bins, Line, Point, Steps

WIDTH, HEIGHT = 1000.0, 100.0
SLIVER = 1.5  # the least height of a bar that is not empty
ROOM = 1.0  # space above and below the middles for the quartiles, at most: as a share of the middles' span


class Histogram(NamedTuple):
    """Bars over bins, those of the tails separately, and the position of the median (None outside)."""

    bars: str
    tails: str
    median: float | None


class Scale(NamedTuple):
    """The axis of all histograms, and the rows beyond the bins, as text."""

    log: bool
    ticks: list[Tick]
    ends: tuple[str, str]
    beyond: tuple[str, str]


class Drawn(NamedTuple):
    """A line and its band, from the lower to the upper quartile."""

    name: str
    path: str
    band: str


class Mark(NamedTuple):
    """A part of the horizontal axis, 0 to 1000, and its text."""

    x: float
    width: float
    text: str


class Chart(NamedTuple):
    """Lines over steps."""

    title: str
    across: str
    up: str
    x: list[Tick]
    y: list[Tick]
    lines: list[Drawn]
    not_finite: list[Mark]
    readings: list[Mark]


def scale(bins: Bins) -> Scale:
    """Make the axis under every histogram."""
    before, after = _tails(bins)
    low, high = bins.edge(0), bins.edge(bins.size)
    total, slots = bins.total(), bins.size + before + after
    first, last = (f"{edge:.3g}" for edge in (low, high)) if bins.log else tick_labels([low, high])
    beyond = (f"{total[0]:,} below {first}" if before else "", f"{total[-1]:,} above {last}" if after else "")
    ends = ("< " * before + first, "> " * after + last)
    ticks = Axis(low, high, log=bins.log).ticks(6)
    placed = [tick._replace(at=(before + tick.at * bins.size) / slots) for tick in ticks]
    return Scale(bins.log, placed, ends, beyond)


def histogram(bins: Bins, counts: Sequence[int], median: float | None) -> Histogram:
    """Draw the bars of one dataset; the highest fills the frame."""
    before, after = _tails(bins)
    slots = counts[1 - before : len(counts) - 1 + after]
    highest, wide = max(slots, default=0) or 1, WIDTH / len(slots)
    bars = [_bar(index * wide, wide, rows / highest) for index, rows in enumerate(slots)]
    inner = slice(int(before), len(slots) - after)
    place = None if median is None else WIDTH * (before + bins.place(median)) / len(slots)
    inside = place is not None and 0 <= place <= WIDTH
    tails = bars[: inner.start] + bars[inner.stop :]
    return Histogram("".join(bars[inner]), "".join(tails), place if inside else None)


def loss_chart(steps: Steps, decimals: int) -> Chart | None:
    """Draw the middle loss of every line, between the quartiles; None if no loss is finite."""
    return _chart("Loss", steps, lambda point: point.middle, decimals, band=True)


def part_charts(steps: Steps, decimals: int) -> list[Chart]:
    """Draw a chart for each component that has a finite mean."""
    charts = [_chart(name, steps, _part(index), decimals, band=False) for index, name in enumerate(steps.components)]
    return [chart for chart in charts if chart]


def _part(index: int) -> Callable[[Point], float | None]:
    return lambda point: point.parts[index]


def _per(steps: Steps, value: str) -> str:
    return f"{value} per {steps.width:,} {steps.unit}s" if steps.width > 1 else f"{value} per {steps.unit}"


def _tails(bins: Bins) -> tuple[bool, bool]:
    total = bins.total()
    return total[0] > 0, total[-1] > 0


def _bar(x: float, wide: float, share: float) -> str:
    if not share:
        return ""
    high = max(SLIVER, HEIGHT * share)
    return f"M{x + wide * 0.06:.1f} {HEIGHT:.0f}v-{high:.1f}h{wide * 0.88:.1f}v{high:.1f}z"


def _chart(
    title: str, steps: Steps, value: Callable[[Point], float | None], decimals: int, *, band: bool
) -> Chart | None:
    points = [point for line in steps.lines for point in line.points]
    means = [mean for point in points if (mean := value(point)) is not None]
    if not means:
        return None
    across = Axis(steps.first, max(steps.first + 1, *(point.step for point in points)))
    up = _height(means, points) if band else axis(means)
    lines = [_line(_name(line, steps), line.points, value, across, up, band=band) for line in steps.lines]
    return Chart(
        title,
        steps.unit,
        _per(steps, "middle and quartiles" if band else "mean") + (", logarithmic" if up.log else ""),
        across.ticks(6),
        up.ticks(5),
        lines,
        _not_finite(points, across, steps.unit) if band else [],
        _readings(steps, value, across, decimals, band=band),
    )


def _height(means: list[float], points: Sequence[Point]) -> Axis:
    """Choose the range: the middles, and the quartiles as far as the middles stay readable."""
    base = axis(means)
    if base.log:
        return base
    room = ROOM * ((max(means) - min(means)) or abs(means[0]) / 2 or 1.0)
    least = min(point.low for point in points if point.low is not None)
    most = max(point.high for point in points if point.high is not None)
    low, high = max(least, min(means) - room), min(most, max(means) + room)
    return axis([min(low, min(means)), max(high, max(means))], may_be_log=False)


def _line(
    name: str,
    points: Sequence[Point],
    value: Callable[[Point], float | None],
    across: Axis,
    up: Axis,
    *,
    band: bool,
) -> Drawn:
    """Draw a path for each stretch of points with a value."""
    stretches = [list(group) for drawn, group in groupby(points, lambda point: value(point) is not None) if drawn]
    path, area = "", ""
    for stretch in stretches:
        xs = [WIDTH * across.place(point.step) for point in stretch]
        path += _path(xs, [value(point) for point in stretch], up)
        if len(stretch) == 1:
            path += "h0"  # a dot: the ends of lines are round
        if band and len(stretch) > 1:
            back = _path(xs[::-1], [point.low for point in reversed(stretch)], up)
            area += _path(xs, [point.high for point in stretch], up) + "L" + back[1:] + "z"
    return Drawn(name, path, area)


def _path(xs: Iterable[float], values: Iterable[float | None], up: Axis) -> str:
    heights = [HEIGHT * (1 - min(2.0, max(-1.0, up.place(value or 0.0)))) for value in values]
    return "M" + "L".join(f"{x:.1f} {y:.2f}" for x, y in zip(xs, heights, strict=True))


def _name(line: Line, steps: Steps) -> str:
    return " · ".join(filter(None, (line.run if steps.several else "", line.split))) or "all rows"


def _not_finite(points: Sequence[Point], across: Axis, unit: str) -> list[Mark]:
    """Mark the steps with losses that are NaN or infinite."""
    marks = [(point.step, point.not_finite) for point in points if point.not_finite]
    return [
        Mark(round(WIDTH * across.place(step), 1), 0.0, f"{unit} {step:,.0f}: {rows:,} NaN or infinite")
        for step, rows in sorted(marks)
    ]


def _readings(
    steps: Steps, value: Callable[[Point], float | None], across: Axis, decimals: int, *, band: bool
) -> list[Mark]:
    """Write the values of all lines at each part of the axis."""
    texts: dict[int, list[str]] = {}
    places: dict[int, float] = {}
    for line in steps.lines:
        for point in line.points:
            bin = int((point.step - steps.first) // steps.width)
            places.setdefault(bin, point.step)
            reading = f"{_name(line, steps)} {loss_text(value(point), decimals)}"
            if band and point.middle is not None:
                ends = [loss_text(end, decimals) for end in (point.low, point.high, point.mean)]
                reading += f" ({ends[0]} to {ends[1]}, mean {ends[2]})"
            texts.setdefault(bin, []).append(reading)
    order = sorted(places)
    marks = []
    for index, bin in enumerate(order):
        x = [WIDTH * across.place(places[near]) for near in order[max(0, index - 1) : index + 2]]
        here = WIDTH * across.place(places[bin])
        left = (x[0] + here) / 2 if index else 0.0
        right = (x[-1] + here) / 2 if index + 1 < len(order) else WIDTH
        marks.append(
            Mark(round(left, 1), round(right - left, 1), f"{steps.unit} {places[bin]:,.0f}: {', '.join(texts[bin])}")
        )
    return marks
