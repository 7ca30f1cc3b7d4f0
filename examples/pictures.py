"""Two pictures that compare trainings: curves over epochs, and predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from photographs import Region
from report import Run

# Okabe and Ito 2008: distinguishable with any colour vision. Markers distinguish the lines in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P")
HIT, MISS, FALSE_ALARM = "#FFFFFF", "#56B4E9", "#D55E00"
WINDOW = 128  # side of the shown part of a validation region, pixels

Picture = npt.NDArray[np.float64]


def draw_curves(runs: Sequence[Run], regions: Sequence[Region], path: Path) -> None:
    """Save validation IoU by photograph and training loss components by config, over epochs."""
    figure = Figure(figsize=(13, 8), dpi=120, layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False)[:, 0]
    upper.suptitle("Validation IoU", fontweight="bold")
    panels = upper.subplots(1, len(regions), sharey=True)
    for axes, region in zip(panels, regions, strict=True):
        axes.set(title=f"{region.name}, {region.foreground:.1%} foreground", ylim=(0, 1))
        draw_lines(axes, {run.name: [scores[region.name] for scores in run.iou] for run in runs})
    upper.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(runs))
    lower.suptitle("Training loss, by component", fontweight="bold")
    for axes, run in zip(lower.subplots(1, len(runs), squeeze=False)[0], runs, strict=True):
        axes.set(title=run.name)
        draw_lines(axes, {name: [means[name] for means in run.components] for name in run.components[0]})
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, fontsize="small", frameon=False)
    figure.savefig(path)


def draw_lines(axes: Axes, series: dict[str, list[float]]) -> None:
    """Draw one line per name over epochs, which count from 1."""
    for (name, values), colour, marker in zip(series.items(), COLOURS, MARKERS, strict=False):
        axes.plot(range(1, len(values) + 1), values, label=name, color=colour, marker=marker, markersize=4)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def draw_predictions(runs: Sequence[Run], regions: Sequence[Region], path: Path) -> None:
    """Save a row per photograph: the middle of its validation region, its target, and every prediction."""
    columns = 2 + len(runs)
    figure = Figure(figsize=(2.6 * columns, 2.8 * len(regions) + 0.6), dpi=120, layout="constrained")
    grid = figure.subplots(len(regions), columns, subplot_kw={"xticks": [], "yticks": []})
    for row, region in zip(grid, regions, strict=True):
        image, target = middle(region.image.numpy()), middle(region.target.numpy()).astype(bool)
        row[0].imshow(image, cmap="gray", vmin=np.quantile(image, 0.01), vmax=np.quantile(image, 0.99))
        row[0].set(title=f"{region.name}, as seen")
        row[1].imshow(target, cmap="gray")
        row[1].set(title="target")
        for axes, run in zip(row[2:], runs, strict=True):
            axes.imshow(compare(middle(run.predictions[region.name].numpy()), target))
            axes.set(title=f"{run.name}, IoU {run.iou[-1][region.name]:.2f}")
    for axes in grid.flat:
        axes.title.set_fontsize(10)
    names = {"found": HIT, "missed": MISS, "false alarm": FALSE_ALARM}
    patches = [Patch(facecolor=colour, edgecolor="black", label=name) for name, colour in names.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))
    figure.savefig(path)


def middle(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the central window of an image: (1, H, W) to at most (WINDOW, WINDOW)."""
    top, left = (max(0, (side - WINDOW) // 2) for side in image.shape[1:])
    return image[0, top : top + WINDOW, left : left + WINDOW]


def compare(predicted: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_]) -> Picture:
    """Return an (H, W, 3) picture with hits, misses and false alarms in different colours on black."""
    picture: Picture = np.zeros((*target.shape, 3))
    picture[predicted & target] = to_rgb(HIT)
    picture[~predicted & target] = to_rgb(MISS)
    picture[predicted & ~target] = to_rgb(FALSE_ALARM)
    return picture
