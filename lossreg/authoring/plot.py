"""What a loss of (logits, mask) looks like: its value and gradient, sampled over the logit and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lossreg.errors import LossregError
from lossreg.loss.base import scalar
from lossreg.messages import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOGITS = tuple(step / 10 for step in range(-80, 81))
SIDE = 8  # pixels, of the images with one target
EMPTY_SIDE = 32  # of the empty mask: large enough that the smoothing of an overlap is small against its sums
SUFFIXES = (".png", ".svg")

_STYLES: tuple[tuple[Literal["-", "--"], str], ...] = (("-", "target 1"), ("--", "target 0"))


class Curve(NamedTuple):
    """The loss of constant images, and its gradient to their logit."""

    values: tuple[float, ...]
    gradients: tuple[float, ...]


class Curves(NamedTuple):
    """A loss over the logit that every pixel has.

    Args:
        logits: where it was sampled.
        background: where every target is 0. The gradient is the sum over the pixels.
        foreground: where every target is 1; likewise.
        empty: on a larger image without foreground. The gradient is the mean over the pixels.
    """

    logits: tuple[float, ...]
    background: Curve
    foreground: Curve
    empty: Curve

    @property
    def predictions(self) -> tuple[float, ...]:
        """The probability of the foreground at each logit."""
        return tuple(torch.tensor(self.logits, dtype=torch.float64).sigmoid().tolist())


def curves(module: nn.Module, logits: Sequence[float] = LOGITS, *, classes: int = 1) -> Curves:
    """Sample a loss on constant images.

    Args:
        module: a loss of logits and mask, that returns one value.
        logits: where to sample.
        classes: 1 for logits and masks (1, 1, H, W). 2 for logits (1, 2, H, W), of which the background's are 0, and
            class indices (1, H, W).
    Raises:
        LossregError: the loss refuses such tensors, or returns something else than one value.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)  # a loss that samples points gives the same picture every time
        background = _curve(module, logits, 0, SIDE, classes)
        foreground = _curve(module, logits, 1, SIDE, classes)
        empty = _curve(module, logits, 0, EMPTY_SIDE, classes)
    pixels = EMPTY_SIDE**2
    mean = empty._replace(gradients=tuple(gradient / pixels for gradient in empty.gradients))
    return Curves(tuple(logits), background, foreground, mean)


def draw(drawn: Mapping[str, Curves], title: str, path: Path) -> None:
    """Write a picture of one or several losses, by label, to a .png or .svg file.

    Raises:
        LossregError: matplotlib is not installed, or the file cannot be written.
    """
    check_drawable(path)
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(11, 8), layout=ConstrainedLayoutEngine(hspace=0.06))
    figure.suptitle(_plain(title))
    axes = figure.subplots(2, 2).ravel().tolist()
    colours = [colormaps["viridis"](0.85 * index / max(1, len(drawn) - 1)) for index in range(len(drawn))]
    for colour, sampled in zip(colours, drawn.values(), strict=True):
        _draw_curves(axes, sampled, colour)
    _label(axes)
    lines = [Line2D([], [], color=colour, label=_plain(label)) for label, colour in zip(drawn, colours, strict=True)]
    styles = [Line2D([], [], color="black", linestyle=style, label=label) for style, label in _STYLES]
    figure.legend(handles=[*(lines if len(drawn) > 1 else []), *styles], loc="outside lower center", ncols=6)
    try:
        figure.savefig(path, dpi=150, format=path.suffix.lower()[1:])
    except OSError as error:
        raise LossregError(f"{path}: cannot be written: {error.strerror or error}; choose another --out") from error


def check_drawable(path: Path) -> None:
    """That a picture can be drawn at all, before anything is sampled.

    Raises:
        MissingLibraryError: matplotlib is not installed.
        LossregError: the file's name ends otherwise.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise LossregError(f"{path}: expected a file ending in {' or '.join(SUFFIXES)}, got {path.suffix!r}")
    require("matplotlib", extra="plot", use="drawing")


def _curve(module: nn.Module, logits: Sequence[float], target: int, side: int, classes: int) -> Curve:
    samples = [_sample(module, logit, target, side, classes) for logit in logits]
    return Curve(tuple(value for value, _ in samples), tuple(gradient for _, gradient in samples))


def _sample(module: nn.Module, logit: float, target: int, side: int, classes: int) -> tuple[float, float]:
    """The loss of an image in which every pixel has this logit, and the gradient to it."""
    x = torch.tensor(logit, requires_grad=True)
    value = scalar(module, _called(module, *_image(x, target, side, classes)))
    if not value.requires_grad:  # as constant as a loss that skips an empty mask
        return value.item(), 0.0
    (gradient,) = torch.autograd.grad(value, x, allow_unused=True)
    return value.item(), 0.0 if gradient is None else gradient.item()


def _image(x: Tensor, target: int, side: int, classes: int) -> tuple[Tensor, Tensor]:
    if classes == 1:
        return x.expand(1, 1, side, side).contiguous(), torch.full((1, 1, side, side), float(target))
    both = torch.stack([torch.zeros_like(x), x])
    return both.view(1, 2, 1, 1).expand(1, 2, side, side).contiguous(), torch.full((1, side, side), target)


def _called(module: nn.Module, input: Tensor, target: Tensor) -> object:
    try:
        return module(input, target)
    except Exception as cause:  # whatever a loss raises, it is an answer to these tensors
        raise LossregError(
            f"{type(module).__name__} cannot be drawn: of logits {tuple(input.shape)} and a target"
            f" {tuple(target.shape)} it raised {type(cause).__name__}: {cause}"
        ) from cause


def _draw_curves(axes: Sequence[Axes], sampled: Curves, colour: Any) -> None:
    value, gradient, empty_value, empty_gradient = axes
    for style, curve in (("-", sampled.foreground), ("--", sampled.background)):
        value.plot(sampled.logits, curve.values, linestyle=style, color=colour)
        gradient.plot(sampled.logits, curve.gradients, linestyle=style, color=colour)
    empty_value.plot(sampled.predictions, sampled.empty.values, linestyle="--", color=colour)
    empty_gradient.plot(sampled.predictions, sampled.empty.gradients, linestyle="--", color=colour)


def _label(axes: Sequence[Axes]) -> None:
    logit = "logit of every pixel (dimensionless)"
    mean = "mean prediction = sigmoid(logit) (probability)"
    for each, title, across, up in zip(
        axes,
        (
            "value",
            "gradient",
            f"value on an empty mask, {EMPTY_SIDE} x {EMPTY_SIDE} pixels",
            "mean gradient on the empty mask",
        ),
        (logit, logit, mean, mean),
        ("loss", "d loss / d logit, summed over the pixels", "loss", "d loss / d logit, mean over the pixels"),
        strict=True,
    ):
        each.set(title=title, xlabel=across, ylabel=up)
        each.ticklabel_format(axis="y", scilimits=(-2, 3))
        each.grid(alpha=0.3)
        each.axhline(0, color="grey", linewidth=0.8)


def _plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")
