"""Speed of ours against the size of the tensors, beside each kind of peer: a picture and a table.

Each number is how many times as fast ours is, forward and backward, all contestants called in turn; above 1 ours is
faster. Every loss is that of its row in losses.py.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from losses import heading, report
from measure import Figures, contestants
from rows import Row, rows
from timing import alternate
from values import reference_values
from work import Work, make_work, run

from lossreg.records.atomic_write import write_figure

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
QUICK_OUT = Path("runs/benchmarks")
LOSSES = ("dice", "bce_dice_focal", "focal", "sam", "dice + cross_entropy")
SIZES = ((1, 64), (1, 128), (1, 256), (1, 512), (4, 512), (4, 1024))  # examples, and pixels of a side
KINDS = ("eager", "compiled", "MONAI", "kornia", "smp")
COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa8800", "#aa3377")  # distinct for colour-blind readers
MARKERS = "osD^v"


class Point(NamedTuple):
    """A loss at one size: the milliseconds of ours, and how many times as fast it is as each kind of peer."""

    shape: tuple[int, ...]
    milliseconds: float
    faster: dict[str, float]
    missing: dict[str, str]  # the reason why a kind has no figure
    differs: dict[str, str]  # why a peer computes another value


def main() -> None:
    """Measure all losses at all sizes, and write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the three smallest sizes, few rounds")
    parser.add_argument("--only", default="", metavar="NAME", help="the losses whose name contains this")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default docs/benchmarks, and runs/benchmarks with --quick"
    )
    options = parser.parse_args()
    out = options.out or (QUICK_OUT if options.quick else DOCS)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own start and stop
    sizes, seconds = (SIZES[:3], 0.3) if options.quick else (SIZES, 2.0)
    found = {name: curve(name, sizes, seconds) for name in LOSSES if options.only in name}
    out.mkdir(parents=True, exist_ok=True)
    (out / "sizes.md").write_text("\n".join(page(found)) + "\n")
    draw(found, out / "sizes.svg")


def curve(name: str, sizes: tuple[tuple[int, int], ...], seconds: float) -> list[Point]:
    """Measure a loss at each size."""
    row = next(row for row in rows() if row.name == name)
    sized = [row._replace(name=f"{name} {n}x{side}", shape=(n, row.shape[1], side, side)) for n, side in sizes]
    expected = reference_values(sized, torch.device("cpu"))
    points = []
    for each in sized:
        points.append(point(each, expected[each.name], seconds))
        report([" ".join((each.name, *(f"{kind} {x:.2f}" for kind, x in points[-1].faster.items())))], [])
    return points


def point(row: Row, expected: float, seconds: float) -> Point:
    """Measure a loss at one size."""
    torch.compiler.reset()
    work = make_work(row, torch.device("cpu"))
    figures = contestants(row, work, expected)
    calls: dict[str, Callable[[Work], object]] = {
        name: partial(run, found.peer.loss) for name, found in figures.items() if found.peer.loss
    }
    times = alternate(calls, [work], torch.device("cpu"), seconds=seconds, least=3)
    measured = [found._replace(milliseconds=times.get(name, math.nan)) for name, found in figures.items()]
    return compared(row.shape, measured)


def compared(shape: tuple[int, ...], figures: list[Figures]) -> Point:
    """Compare ours, which comes first, with each kind of peer."""
    ours, *others = figures
    faster, missing = dict[str, float](), dict[str, str]()
    for kind in KINDS:
        peers = [other for other in others if kind in other.peer.name]
        if ran := [other.milliseconds for other in peers if other.peer.loss]:
            faster[kind] = min(ran) / ours.milliseconds
        else:
            missing[kind] = peers[0].peer.problem if peers else "it has no such loss"
    differs = {other.peer.name: other.peer.differs for other in others if other.peer.differs}
    return Point(shape, ours.milliseconds, faster, missing, differs)


def page(found: dict[str, list[Point]]) -> list[str]:
    """Return the page in Markdown."""
    lines = heading(torch.device("cpu"), wall=False)[:4]
    lines[0] = "# Speed against size"
    lines += ["![How many times as fast ours is](sizes.svg)", "", *(__doc__ or "").strip().splitlines()[2:], ""]
    for name, points in found.items():
        lines += [f"## {name}", "", f"| logits | ours, ms | {' | '.join(KINDS)} |", "|---" + "|--:" * 6 + "|"]
        for point in points:
            cells = [f"{point.faster[kind]:.2f}" if kind in point.faster else "" for kind in KINDS]
            lines.append(f"| {'x'.join(map(str, point.shape))} | {point.milliseconds:.3g} | {' | '.join(cells)} |")
        lines += ["", *(f"- No {kind}: {reason}." for kind, reason in points[0].missing.items())]
        lines += [*(f"- {peer}: {reason}." for peer, reason in points[0].differs.items()), ""]
    return [line.replace("|  |", "| |").replace("|  |", "| |") for line in lines[:-1]]


def draw(found: dict[str, list[Point]], path: Path) -> None:
    """Write the picture: a panel for each loss, a line for each kind of peer."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    matplotlib.rcParams["svg.hashsalt"] = "sizes"  # the same figures give the same file
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, 3).ravel().tolist()
    ticks = {n * side**2: f"{f'{n}x' if n > 1 else ''}{side}\u00b2" for n, side in SIZES}
    for panel, (name, points) in zip(panels, found.items(), strict=False):
        for kind, colour, marker in zip(KINDS, COLOURS, MARKERS, strict=True):
            across = [math.prod(point.shape[2:]) * point.shape[0] for point in points if kind in point.faster]
            up = [point.faster[kind] for point in points if kind in point.faster]
            panel.plot(across, up, color=colour, marker=marker, markersize=4, label=kind)
        panel.axhline(1, color="grey", linewidth=0.8)
        panel.set(title=name, xscale="log", yscale="log")
        panel.set_xticks(list(ticks), labels=list(ticks.values()), fontsize="small")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}x")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_minor_formatter(NullFormatter())
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    for panel in panels[len(found) :]:
        panel.axis("off")
    panels[-1].legend(handles, labels, title="times as fast as", loc="center", frameon=False)
    figure.supxlabel("pixels of each mask or class, examples x side\u00b2")
    figure.suptitle("lossreg on two CPU cores, forward and backward: above the grey line it is faster")
    write_figure(figure, path, option="--out")


if __name__ == "__main__":
    main()
