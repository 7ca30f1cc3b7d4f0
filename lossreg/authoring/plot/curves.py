"""Curves over the logit: the value of a loss and its gradient, on images of one colour or on a disc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lossreg.authoring.plot.calls import value_of
from lossreg.authoring.plot.shapes import RADIUS, disc

LOGITS = tuple(step / 5 for step in range(-40, 41))
SIDE = 8  # pixels, of the images with a constant target
EMPTY_SIDE = 32  # pixels, of the empty mask; large, so that smoothing is small compared with the sums


class Curve(NamedTuple):
    """Values of a loss, and its gradients with respect to the logit."""

    values: tuple[float, ...]
    gradients: tuple[float, ...]


class Curves(NamedTuple):
    """Curves of a loss over a logit.

    Args:
        logits: the sampled logits.
        background: images of this logit, whose targets are all 0. The gradient is the sum over the pixels.
        foreground: the same with targets that are all 1.
        empty: a larger image without foreground. The gradient is the mean over the pixels.
    """

    logits: tuple[float, ...]
    background: Curve
    foreground: Curve
    empty: Curve


class DiscCurves(NamedTuple):
    """Curves of a loss whose value depends on where pixels lie, over the logit of a disc; that of the rest is opposite.

    Args:
        logits: the sampled logits.
        right: the target is the disc. The gradient is that of the mean logit.
        empty: the target is empty.
    """

    logits: tuple[float, ...]
    right: Curve
    empty: Curve


def probabilities(logits: Sequence[float]) -> tuple[float, ...]:
    """Return the probability of the foreground at each logit."""
    return tuple(torch.tensor(logits, dtype=torch.float64).sigmoid().tolist())


def curves(module: nn.Module, logits: Sequence[float] = LOGITS, *, channels: int = 1, step: int = 0) -> Curves:
    """Sample a loss on images of one colour.

    Args:
        module: a loss of logits and mask that returns one value.
        logits: the logits to sample.
        channels: 1 for logits and masks (1, 1, H, W). 2 for logits (1, 2, H, W), where those of the background are 0,
            and class indices (1, H, W).
        step: the training step, for a loss whose weights follow it.
    Raises:
        LossregError: the loss raises on such tensors, or does not return one value.
    """

    def of(target: float, side: int, pixels: int = 1) -> Curve:
        image = torch.ones(1, 1, side, side)
        return _curve(module, logits, image, target * image, channels, step, pixels)

    return Curves(tuple(logits), of(0, SIDE), of(1, SIDE), of(0, EMPTY_SIDE, EMPTY_SIDE**2))


def disc_curves(module: nn.Module, logits: Sequence[float] = LOGITS, *, channels: int = 1, step: int = 0) -> DiscCurves:
    """Sample a loss on a disc, predicted with each logit inside and the opposite one outside. `curves` has the rest."""
    mask = disc(RADIUS).mask()
    sign = 2 * mask - 1
    right = _curve(module, logits, sign, mask, channels, step, 1)
    empty = _curve(module, logits, sign, torch.zeros_like(mask), channels, step, 1)
    return DiscCurves(tuple(logits), right, empty)


def _curve(
    module: nn.Module, logits: Sequence[float], image: Tensor, mask: Tensor, channels: int, step: int, divisor: int
) -> Curve:
    samples = [_sample(module, logit, image, mask, channels, step) for logit in logits]
    return Curve(tuple(value for value, _ in samples), tuple(gradient / divisor for _, gradient in samples))


def _sample(
    module: nn.Module, logit: float, image: Tensor, mask: Tensor, channels: int, step: int
) -> tuple[float, float]:
    """Return the loss of an image times this logit, and the gradient to the logit."""
    x = torch.tensor(logit, requires_grad=True)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)  # so that a loss that draws random points repeats
        value = value_of(module, x * image, mask, channels, step)
        if not value.requires_grad:  # constant, such as a loss that ignores empty masks
            return value.item(), 0.0
        (gradient,) = torch.autograd.grad(value, x, allow_unused=True)
    return value.item(), 0.0 if gradient is None else gradient.item()
