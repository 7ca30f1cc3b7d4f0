"""Drawing of panels by matplotlib: a figure of phone width for each, or all of them in one file."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lossreg.authoring.plot.panels import Panel, constant, panels
from lossreg.errors import LossregError
from lossreg.messages import require
from lossreg.records.atomic_write import write_figure, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
WIDTH, HEIGHT = 4.0, 3.3  # inches, of a panel: 384 pixels of CSS, the width of a phone

# At least 3:1 against white and against the dark ground of the documentation.
COLOURS = ("#2f81c7", "#d9730d", "#2a9d5c", "#a45fd0", "#d6455d", "#7f8a93")
INK = "#1f2329"  # replaced by the colour of the surrounding text in an SVG
GRID = "#8a8f94"
ALONE = "<style>svg{color:%s}@media(prefers-color-scheme:dark){svg{color:#dfe3e8}}</style>" % INK  # noqa: UP031

STYLES: dict[int | None, Literal["-", "--"]] = {None: "-", 1: "-", 0: "--"}  # of lines, by the target
STYLE: dict[Any, Any] = {
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.alpha": 0.35,
    "grid.color": GRID,
    "legend.borderaxespad": 0,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.labelspacing": 0.3,
    "lines.linewidth": 1.8,
    "path.simplify_threshold": 0.3,
    "savefig.transparent": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "lossreg",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def figures(
    name: str, params: Mapping[str, Any] | None = None, *, vary: tuple[str, Sequence[Any]] | None = None
) -> dict[str, Figure]:
    """Draw a loss of logits and masks: a figure of phone width for each panel that shows something.

        {"value": Figure, "gradient": Figure, "empty": Figure, ..., "shift": Figure, "gap": Figure}

    Panels in which every line is constant are left out; `panels` has them, as `constant`.

    Args:
        name: a name, an alias or provider/name.
        params: its parameters; required ones that are left out are those of its smallest config.
        vary: a parameter and its values, a line for each. None: the parameter that shows most.
    Raises:
        LossregError: the loss has other inputs than logits and masks or class indices.
        InvalidConfigError: the loss does not take these parameters.
        MissingLibraryError: matplotlib is not installed.
    """
    require("matplotlib", extra="plot", use="drawing")
    return {key: figure(panel) for key, panel in panels(name, params, vary=vary).items() if panel.lines}


def figure(panel: Panel) -> Figure:
    """Draw one panel at the width of a phone."""
    return _together([panel], "", columns=1)


def svg(drawn: Figure) -> str:
    """Return a figure as SVG, small and without a ground, whose text has the colour of the text around it.

    Put into a page, it follows the page from light to dark. As a file or an image, it follows the reader's system.
    """
    text = StringIO()
    with _style():
        drawn.savefig(
            text, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.06, metadata={"Date": None}
        )
    found = text.getvalue().replace(INK, "currentColor")
    start = found.index(">", found.index("<svg")) + 1
    return found[:start] + ALONE + found[start:]


def draw(drawn: Mapping[str, Panel], title: str, path: Path) -> None:
    """Write all panels that show something to one .png or .svg file.

    Raises:
        LossregError: matplotlib is not installed, the file cannot be written, or no panel shows anything.
    """
    check_drawable(path)
    shown = [panel for panel in drawn.values() if panel.lines]
    if not shown:
        raise LossregError("nothing can be drawn: the loss is the same everywhere; choose other --params")
    made = _together(shown, title, columns=min(2, len(shown)))
    if path.suffix.lower() == ".png":
        with _style():
            write_figure(made, path, option="--out")
        return
    try:
        write_text(path, svg(made))
    except OSError as error:
        raise LossregError(f"{path}: cannot be written: {error.strerror or error}; choose another --out") from error


def check_drawable(path: Path) -> None:
    """Check the name of the file and the installation, before anything is sampled.

    Raises:
        MissingLibraryError: matplotlib is not installed.
        LossregError: the file does not end in .png or .svg.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise LossregError(f"{path}: expected a file ending in {' or '.join(SUFFIXES)}, got {path.suffix!r}")
    require("matplotlib", extra="plot", use="drawing")


@contextmanager
def _style() -> Iterator[None]:
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def _together(shown: Sequence[Panel], title: str, columns: int) -> Figure:
    from matplotlib.figure import Figure

    rows = -(-len(shown) // columns)
    with _style():
        made = Figure(figsize=(WIDTH * columns, HEIGHT * rows + 0.4 * bool(title)), layout="constrained")
        if title:
            made.suptitle(_plain(title), fontsize=11)
        axes = made.subplots(rows, columns, squeeze=False).ravel().tolist()
        for each, panel in zip(axes, shown, strict=False):
            _draw(each, panel)
        for unused in axes[len(shown) :]:
            unused.set_axis_off()
    return made


def _draw(axes: Axes, panel: Panel) -> None:
    from matplotlib.lines import Line2D

    labels = dict.fromkeys(line.label for line in (*panel.lines, *panel.constant))
    colours = dict(zip(labels, cycle(COLOURS), strict=False))
    for line in panel.lines:
        axes.plot(line.across, line.values, STYLES[line.target], color=colours[line.label])
    below = [panel.across, *_wrapped(constant(panel))]
    axes.set_title("\n".join(_wrapped(panel.title, 44)))
    axes.set(xlabel=_plain("\n".join(below)), ylabel=panel.up)
    axes.ticklabel_format(axis="y", scilimits=(-2, 3))
    low, high = axes.get_ylim()
    if low <= 0 <= high:
        axes.axhline(0, color=GRID, linewidth=0.8, zorder=0)
    shown = dict.fromkeys(line.label for line in panel.lines if line.label)
    handles = [Line2D([], [], color=colours[label], label=_plain(label)) for label in shown]
    targets = dict.fromkeys(line.target for line in panel.lines if line.target is not None)
    handles += [Line2D([], [], color=GRID, linestyle=STYLES[each], label=f"target {each}") for each in targets]
    if handles:
        widest = max(len(str(handle.get_label())) for handle in handles)
        columns = min(len(handles), max(1, 54 // (widest + 6)))
        anchor = (0.5, -0.15 - 0.07 * len(below))
        axes.legend(handles=handles, ncols=columns, loc="upper center", bbox_to_anchor=anchor)


def _wrapped(text: str, width: int = 52) -> list[str]:
    return textwrap.wrap(text, width)


def _plain(text: str) -> str:
    """Escape dollars, so that matplotlib reads no formula."""
    return text.replace("$", r"\$")
