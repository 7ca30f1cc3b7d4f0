"""A picture of the result of `examine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from lossreg.errors import LossregError
from lossreg.health.targets.report import TargetReport
from lossreg.messages import printable, require
from lossreg.records.atomic_write import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS: Final = 20  # values; the most frequent are drawn
FEWEST_BARS: Final = 6  # bars that the axis has room for, so that two bars are not too thick
# Okabe and Ito 2008: distinct with any colour vision.
BETWEEN, EDGE = "#0072B2", "#D55E00"


def draw_targets(report: TargetReport, path: Path, title: str = "") -> None:
    """Write the distribution of foreground, and the values, to a .png file.

    Raises:
        LossregError: matplotlib is not installed, or the file cannot be written.
    """
    check_png(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    figure.suptitle(printable(title).replace("$", r"\$"))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_shares(left, report)
    _draw_values(right, report)
    write_figure(figure, path, option="--png")


def check_png(path: Path) -> None:
    """Check that a picture can be drawn, before reading any target.

    Raises:
        MissingLibraryError: matplotlib is not installed.
        LossregError: the file's name does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise LossregError(f"{path}: expected a file ending in .png, got {path.suffix!r}")
    require("matplotlib", extra="targets", use="check-targets --png")


def bars(report: TargetReport) -> list[tuple[str, int]]:
    """Return the distribution of foreground as pairs of label and number of masks: empty, each bin, full."""
    between = [
        (f"to {_percent(each.high)}" if each.high < 1 else f"over {_percent(each.low)}", each.masks)
        for each in report.histogram
    ]
    return [("empty", report.empty), *between, ("full", report.full)]


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _draw_shares(axes: Axes, report: TargetReport) -> None:
    labels, counts = zip(*bars(report), strict=True)
    colours = [EDGE, *[BETWEEN] * len(report.histogram), EDGE]
    drawn = axes.barh(range(len(labels)), counts, color=colours)
    axes.bar_label(drawn, [f"{count:,}" if count else "" for count in counts], padding=3, fontsize="small")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(
        title=f"{report.masks:,} masks by share of foreground", xlabel="masks", ylabel="foreground, share of pixels"
    )
    _grid(axes)


def _draw_values(axes: Axes, report: TargetReport) -> None:
    rows = sorted(sorted(report.values, key=lambda row: -row.masks)[:MOST_BARS])
    more = report.more_values or len(report.values) > len(rows)
    drawn = axes.barh(range(len(rows)), [row.masks for row in rows], color=BETWEEN)
    axes.bar_label(drawn, [f"{100 * row.pixels:.3g} % of pixels" for row in rows], padding=3, fontsize="small")
    axes.set_yticks(range(len(rows)), [f"{row.value:g}" for row in rows])
    axes.set_ylim(max(len(rows), FEWEST_BARS) - 0.5, -0.5)  # from the top
    axes.margins(x=0.45)
    axes.set(title="values" + (" (there are more)" if more else ""), xlabel="masks with the value", ylabel="value")
    _grid(axes)
    if not rows:
        axes.text(0.5, 0.5, "no whole numbers", ha="center", transform=axes.transAxes)


def _grid(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
