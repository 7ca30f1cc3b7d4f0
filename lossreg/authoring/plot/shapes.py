"""Simple shapes, a disc and a line, and what a loss costs as the prediction of one is shifted, swollen or broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lossreg.authoring.plot.calls import Value

SIDE = 64  # pixels, of each image
RADIUS = 9  # pixels, of the disc; less than 10, the number of erosions after which cldice has its centre
HALF_WIDTH = 3  # pixels, of the line
LARGEST = 6.0  # logits of a sure pixel
SLOPE = 12.0  # logits per pixel, at an edge: a pixel that lies wholly on one side is sure


@dataclass(frozen=True, eq=False)
class Shape:
    """A shape by the distance of each pixel (1, 1, H, W) to its edge, positive inside, in pixels."""

    depth: Tensor

    def __or__(self, other: Shape) -> Shape:
        return Shape(torch.maximum(self.depth, other.depth))

    def without(self, other: Shape) -> Shape:
        """Return the part of this shape outside another."""
        return Shape(torch.minimum(self.depth, -other.depth))

    def mask(self) -> Tensor:
        """Return 1 inside and 0 outside."""
        return (self.depth > 0).float()

    def logits(self) -> Tensor:
        """Return a sure prediction; only pixels that the edge crosses are less sure."""
        return (SLOPE * self.depth).clamp(-LARGEST, LARGEST)


class Sweep(NamedTuple):
    """A change of a prediction by a number of pixels.

    Args:
        title: the subject of the panel.
        across: the axis of the number.
        numbers: the sampled numbers, pixels.
        pair: the prediction and the target of a number.
    """

    title: str
    across: str
    numbers: tuple[float, ...]
    pair: Callable[[float], tuple[Shape, Shape]]


def disc(radius: float, x: float = SIDE / 2, y: float = SIDE / 2) -> Shape:
    """Return a disc around a place, in pixels from the upper left corner."""
    across, down = _places()
    return Shape(radius - torch.hypot(across - x, down - y))


def box(left: float, right: float, half_height: float) -> Shape:
    """Return a box that spans these columns in the middle rows."""
    across, down = _places()
    beside = torch.minimum(across - left, right - across)
    return Shape(torch.minimum(beside, half_height - (down - SIDE / 2).abs()))


def sampled(value: Value, sweep: Sweep) -> tuple[float, ...]:
    """Return the loss at each number of a sweep.

    Raises:
        LossregError: the loss raises on such tensors, or does not return one value.
    """
    found = []
    for number in sweep.numbers:
        prediction, target = sweep.pair(number)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)  # so that a loss that draws random points repeats
            found.append(value(prediction.logits(), target.mask()).item())
    return tuple(found)


def _shifted(by: float) -> tuple[Shape, Shape]:
    left = SIDE / 2 - RADIUS
    return disc(RADIUS, left + by), disc(RADIUS, left)


def _dilated(by: float) -> tuple[Shape, Shape]:
    return disc(RADIUS + by), disc(RADIUS)


def _broken(gap: float) -> tuple[Shape, Shape]:
    line, middle = box(6, SIDE - 6, HALF_WIDTH), SIDE / 2
    if gap == 0:
        return line, line
    return line.without(box(middle - gap / 2, middle + gap / 2, SIDE)), line


def _missed(length: float) -> tuple[Shape, Shape]:
    found, left = disc(RADIUS, SIDE / 4), SIDE / 2 + 2
    return found, found | box(left, left + length, HALF_WIDTH)


def _places() -> tuple[Tensor, Tensor]:
    """Return the columns and rows of the pixels' centres."""
    at = torch.arange(SIDE) + 0.5
    return at.view(1, 1, 1, -1), at.view(1, 1, -1, 1)


def _numbers(first: int, last: int, step: int = 1) -> tuple[float, ...]:
    return tuple(float(number) for number in range(first, last + 1, step))


SWEEPS: Mapping[str, Sweep] = {
    "shift": Sweep(
        f"a disc of radius {RADIUS}, predicted beside its place",
        "shift of the prediction (pixels)",
        _numbers(0, 24),
        _shifted,
    ),
    "dilation": Sweep(
        f"a disc of radius {RADIUS}, predicted too small or too large",
        "predicted radius - radius (pixels)",
        _numbers(-7, 7),
        _dilated,
    ),
    "gap": Sweep(
        f"a line {2 * HALF_WIDTH} pixels wide, predicted with a gap",
        "length of the gap (pixels)",
        _numbers(0, 40, 2),
        _broken,
    ),
    "size": Sweep(
        f"a line {2 * HALF_WIDTH} pixels wide is missed beside a disc of radius {RADIUS}",
        "length of the missed line (pixels)",
        _numbers(1, 28),
        _missed,
    ),
}
