"""Changes of batches, learning rates and pools that sound trainings have."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from zoo.data import IGNORED, Pool

Spoil = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def of_images(change: Callable[[Tensor], Tensor]) -> Spoil:
    """Return a change of the images alone."""
    return lambda images, targets, step: (change(images), targets)


def of_targets(change: Callable[[Tensor], Tensor]) -> Spoil:
    """Return a change of the targets alone."""
    return lambda images, targets, step: (images, change(targets))


def of_pool(change: Callable[[Tensor, torch.Generator], Tensor]) -> Callable[[Pool, torch.Generator], Pool]:
    """Return a change of the targets of a pool."""
    return lambda pool, generator: Pool(pool.images, change(pool.targets, generator))


def warm_up(updates: int) -> Callable[[int], float]:
    """Return a learning rate that rises from 0 over the first updates."""
    return lambda step: min(1.0, (step + 1) / updates)


def restarts(period: int) -> Callable[[int], float]:
    """Return a cosine with warm restarts."""
    return lambda step: 0.5 + 0.5 * math.cos(math.pi * (step % period) / period)


def in_epoch(batches: int) -> Callable[[int], int]:
    """Return the step of a loop over `enumerate(loader)`."""
    return lambda number: number % batches


def flipped(images: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Flip image and target every second step."""
    return (images.flip(-1), targets.flip(-1)) if step % 2 else (images, targets)


def blurred(targets: Tensor) -> Tensor:
    """Return soft masks, the mean of 3 x 3 pixels."""
    return torch.nn.functional.avg_pool2d(targets.float(), 3, stride=1, padding=1)


def mixed(images: Tensor, targets: Tensor, _: int) -> tuple[Tensor, Tensor]:
    """Return the mean of each example and its neighbour, as mixup does."""
    return (images + images.roll(1, 0)) / 2, (targets + targets.float().roll(1, 0)) / 2


def with_border(targets: Tensor) -> Tensor:
    """Ignore a border of three pixels."""
    inner = torch.zeros_like(targets, dtype=torch.bool)
    inner[..., 3:-3, 3:-3] = True
    return targets.where(inner, torch.full_like(targets, IGNORED))


def sparse(share: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return a change that keeps a share of the labelled pixels."""

    def change(targets: Tensor, generator: torch.Generator) -> Tensor:
        kept = torch.rand(targets.shape, generator=generator) < share
        return targets.where(kept, torch.full_like(targets, IGNORED))

    return change


def unlabelled(share: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return a change that ignores a share of the targets altogether."""

    def change(targets: Tensor, generator: torch.Generator) -> Tensor:
        kept = torch.rand(len(targets), *[1] * (targets.ndim - 1), generator=generator) >= share
        return targets.where(kept, torch.full_like(targets, IGNORED))

    return change


def noisy(share: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return a change that flips a share of the pixels of masks."""
    return lambda targets, generator: targets ^ (torch.rand(targets.shape, generator=generator) < share)


def some_inverted(share: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return a change that inverts a share of the masks."""

    def change(targets: Tensor, generator: torch.Generator) -> Tensor:
        return targets ^ (torch.rand(len(targets), 1, 1, 1, generator=generator) < share)

    return change


def renamed(share: float, classes: int = 10) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return a change that names a share of the examples at random."""

    def change(targets: Tensor, generator: torch.Generator) -> Tensor:
        random = torch.randint(classes, targets.shape, generator=generator)
        return targets.where(torch.rand(targets.shape, generator=generator) >= share, random)

    return change


def fainter(images: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Lower the contrast in five stages of 300 steps, down to a half: a curriculum."""
    return images - (0.25 * min(step // 300, 4)) * targets.float().amax(1, keepdim=True), targets
