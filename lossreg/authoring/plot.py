"""Curves of a loss of (logits, mask): its value and gradient, sampled over the logit and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lossreg.errors import LossregError
from lossreg.loss import scalar
from lossreg.messages import require, with_type
from lossreg.records.atomic_write import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOGITS = tuple(step / 10 for step in range(-80, 81))
SIDE = 8  # pixels, of the images with a constant target
EMPTY_SIDE = 32  # pixels, of the empty mask; large, so that smoothing is small compared with the sums
SUFFIXES = (".png", ".svg")

_STYLES: tuple[tuple[Literal["-", "--"], str], ...] = (("-", "target 1"), ("--", "target 0"))


class Curve(NamedTuple):
    """Loss of constant images, and its gradient with respect to their logit."""

    values: tuple[float, ...]
    gradients: tuple[float, ...]


class Curves(NamedTuple):
    """Curves of a loss over the logit of a constant image.

    Args:
        logits: the sampled logits.
        background: every target is 0. The gradient is the sum over the pixels.
        foreground: every target is 1. The gradient is the sum over the pixels.
        empty: a larger image without foreground. The gradient is the mean over the pixels.
    """

    logits: tuple[float, ...]
    background: Curve
    foreground: Curve
    empty: Curve

    @property
    def predictions(self) -> tuple[float, ...]:
        """Return the probability of the foreground at each logit."""
        return tuple(torch.tensor(self.logits, dtype=torch.float64).sigmoid().tolist())


def curves(module: nn.Module, logits: Sequence[float] = LOGITS, *, classes: int = 1) -> Curves:
    """Sample a loss on constant images.

    Args:
        module: a loss of logits and mask that returns one value.
        logits: the logits to sample.
        classes: 1 for logits and masks (1, 1, H, W). 2 for logits (1, 2, H, W), where those of the background are 0,
            and class indices (1, H, W).
    Raises:
        LossregError: the loss raises on such tensors, or does not return one value.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)  # so that a loss that draws random points repeats
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
    write_figure(figure, path, option="--out")


def check_drawable(path: Path) -> None:
    """Check the name of the file and the installation, before anything is sampled.

    Raises:
        MissingLibraryError: matplotlib is not installed.
        LossregError: the file does not end in .png or .svg.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise LossregError(f"{path}: expected a file ending in {' or '.join(SUFFIXES)}, got {path.suffix!r}")
    require("matplotlib", extra="plot", use="drawing")


def _curve(module: nn.Module, logits: Sequence[float], target: int, side: int, classes: int) -> Curve:
    samples = [_sample(module, logit, target, side, classes) for logit in logits]
    return Curve(tuple(value for value, _ in samples), tuple(gradient for _, gradient in samples))


def _sample(module: nn.Module, logit: float, target: int, side: int, classes: int) -> tuple[float, float]:
    """Return the loss of an image in which every pixel has this logit, and the gradient to the logit."""
    x = torch.tensor(logit, requires_grad=True)
    value = scalar(module, _call(module, *_image(x, target, side, classes)))
    if not value.requires_grad:  # constant, such as a loss that ignores empty masks
        return value.item(), 0.0
    (gradient,) = torch.autograd.grad(value, x, allow_unused=True)
    return value.item(), 0.0 if gradient is None else gradient.item()


def _image(x: Tensor, target: int, side: int, classes: int) -> tuple[Tensor, Tensor]:
    if classes == 1:
        return x.expand(1, 1, side, side).contiguous(), torch.full((1, 1, side, side), float(target))
    both = torch.stack([torch.zeros_like(x), x])
    return both.view(1, 2, 1, 1).expand(1, 2, side, side).contiguous(), torch.full((1, side, side), target)


def _call(module: nn.Module, input: Tensor, target: Tensor) -> object:
    try:
        return module(input, target)
    except Exception as cause:  # a loss may raise anything
        raise LossregError(
            f"{type(module).__name__} cannot be drawn: on logits {tuple(input.shape)} and a target"
            f" {tuple(target.shape)} it raised {with_type(cause)}"
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
    """Escape dollars, so that matplotlib reads no formula."""
    return text.replace("$", r"\$")
