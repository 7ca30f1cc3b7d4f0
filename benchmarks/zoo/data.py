"""The data of the zoo: pools of small images with their targets, other ones for each seed."""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

EXAMPLES = 256  # of a pool; batches are drawn from it with replacement
SIDE = 20  # pixels of the drawn images
IGNORED = 255  # pixels that do not count


class Pool(NamedTuple):
    """Images (N, 1, *) and targets: masks (N, C, *) of uint8 or float, or class indices (N, *)."""

    images: Tensor
    targets: Tensor

    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return a random batch."""
        chosen = torch.randint(len(self.images), (number,), generator=generator)
        return self.images[chosen], self.targets[chosen]


Data = Callable[[int], Pool]


def shapes(**options: Any) -> Data:
    """Return the data of `draw_shapes` with these options."""
    return partial(draw_shapes, **options)


def draw_shapes(
    seed: int,
    *,
    radius: tuple[float, float] = (2.5, 6.0),
    empty: float = 0.0,
    classes: int = 0,
    noise: float = 0.5,
    contrast: float = 2.0,
    axes: int = 2,
    side: int = SIDE,
) -> Pool:
    """Return images with one bright ball each.

    Args:
        radius: least and greatest, in pixels.
        empty: the share of images without a ball.
        classes: 0 for a mask; else the number of classes with the background, whose balls differ in brightness.
        noise: standard deviation at each pixel.
        contrast: brightness of a ball; of classes that of the first, and the others are multiples of it.
        axes: 1 for signals, 2 for images, 3 for volumes.
    """
    generator = torch.Generator().manual_seed(seed)
    distance = torch.zeros(EXAMPLES, *[side] * axes)
    for axis in range(axes):
        centre = torch.rand(EXAMPLES, *[1] * axes, generator=generator) * (side - 4) + 2
        place = torch.arange(side).view(*[-1 if other == axis else 1 for other in range(axes)])
        distance += (place - centre) ** 2
    size = torch.rand(EXAMPLES, *[1] * axes, generator=generator) * (radius[1] - radius[0]) + radius[0]
    present = torch.rand(EXAMPLES, *[1] * axes, generator=generator) >= empty
    kind = torch.randint(1, max(classes, 2), (EXAMPLES, *[1] * axes), generator=generator)
    target = (distance <= size**2) * present * kind
    images = contrast * target + noise * torch.randn(target.shape, generator=generator)
    return Pool(images.unsqueeze(1), target if classes else target.unsqueeze(1).to(torch.uint8))


def several_masks(seed: int, *, seldom: float = 1.0) -> Pool:
    """Return images with three overlapping masks: bright, dark, and striped; the last in a share of the images."""
    bright, dark, striped = (draw_shapes(seed + 1000 * kind, noise=0.3) for kind in range(3))
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(EXAMPLES, 1, 1, 1, generator=generator) < seldom
    stripes = torch.arange(SIDE) % 2 * 4 - 2
    last = striped.targets * keep
    images = bright.images - 2 * dark.targets + last * stripes
    return Pool(images, torch.cat([bright.targets, dark.targets, last], 1))


def digits(seed: int) -> Pool:
    """Return scikit-learn's digits at twice their size, with noise; the mask is their ink."""
    images, _ = _digits()
    ink = images.repeat_interleave(2, -1).repeat_interleave(2, -2)
    noise = torch.randn(ink.shape, generator=torch.Generator().manual_seed(seed))
    return Pool(ink + 0.2 * noise, (ink > 0.5).to(torch.uint8))


def digit_names(seed: int) -> Pool:
    """Return scikit-learn's digits and the index of each."""
    images, names = _digits()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return Pool(images + 0.1 * noise, names)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(found.target)


def tiles(seed: int, *, side: int = 32) -> Pool:
    """Return tiles of the examples' photographs: coins, ink, blood vessels and galaxies."""
    draw_tiles, regions = _photographs()
    images, targets = draw_tiles(regions, EXAMPLES // 4, torch.Generator().manual_seed(seed))
    return Pool(images[..., :side, :side], targets[..., :side, :side])


@cache
def _photographs() -> tuple[Callable[..., tuple[Tensor, Tensor]], list[Any]]:
    sys.path.append(str(Path(__file__).parents[2] / "examples"))
    import photographs

    return photographs.draw_tiles, photographs.load(0)[0]


def changed(data: Data, change: Callable[[Pool, torch.Generator], Pool]) -> Data:
    """Return data whose pool is changed once, before the training."""
    return lambda seed: change(data(seed), torch.Generator().manual_seed(seed + 1))
