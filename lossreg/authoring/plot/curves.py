"""Curves over the logit: the value of a loss and its gradient, on an image of one colour or on a disc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lossreg.authoring.plot.calls import Value
from lossreg.authoring.plot.shapes import LARGEST, RADIUS, disc

LOGITS = tuple(step / 5 for step in range(-39, 40, 2))  # not 0, where a threshold of 1/2 is undecided
SIDE = 8  # pixels, of an image with a constant target
EMPTY_SIDE = 32  # pixels, of the empty mask; large, so that smoothing is small compared with the sums


class Scene(NamedTuple):
    """An image whose pixels have a logit times a number plus another, and its target.

    Args:
        factors, added: the numbers (1, 1, H, W).
        mask: the target (1, 1, H, W).
        pixels: divisor of the gradient to the logit, which is the sum over the pixels.
    """

    factors: Tensor
    added: Tensor
    mask: Tensor
    pixels: int = 1


class Curve(NamedTuple):
    """Values of a loss, and its gradients with respect to the logit."""

    values: tuple[float, ...]
    gradients: tuple[float, ...]


def one_colour(target: int, side: int = SIDE) -> Scene:
    """Return an image of one logit, all of whose targets are 0 or 1."""
    image = torch.ones(1, 1, side, side)
    return Scene(image, 0 * image, target * image)


def empty_mask() -> Scene:
    """Return a larger image of one logit without foreground, whose gradient is the mean over the pixels."""
    return one_colour(0, EMPTY_SIDE)._replace(pixels=EMPTY_SIDE**2)


def right_disc() -> Scene:
    """Return a disc predicted with the logit, and the rest with the opposite one; the target is the disc."""
    mask = disc(RADIUS).mask()
    return Scene(2 * mask - 1, 0 * mask, mask)


def false_disc() -> Scene:
    """Return a disc predicted with the logit, surely nothing around it, and no target."""
    mask = disc(RADIUS).mask()
    return Scene(mask, -LARGEST * (1 - mask), 0 * mask)


def probabilities(logits: Sequence[float]) -> tuple[float, ...]:
    """Return the probability of the foreground at each logit."""
    return tuple(torch.tensor(logits, dtype=torch.float64).sigmoid().tolist())


def curve(value: Value, scene: Scene, logits: Sequence[float] = LOGITS) -> Curve:
    """Sample a loss and its gradient over the logit of a scene.

    Raises:
        LossregError: the loss raises on such tensors, or does not return one value.
    """
    samples = [_sample(value, scene, logit) for logit in logits]
    return Curve(tuple(value for value, _ in samples), tuple(gradient / scene.pixels for _, gradient in samples))


def _sample(value: Value, scene: Scene, logit: float) -> tuple[float, float]:
    """Return the loss at a logit, and its gradient to the logit."""
    x = torch.tensor(logit, requires_grad=True)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)  # so that a loss that draws random points repeats
        found = value(x * scene.factors + scene.added, scene.mask)
        if not found.requires_grad:  # constant, such as a loss that ignores empty masks
            return found.item(), 0.0
        (gradient,) = torch.autograd.grad(found, x, allow_unused=True)
    return found.item(), 0.0 if gradient is None else gradient.item()
