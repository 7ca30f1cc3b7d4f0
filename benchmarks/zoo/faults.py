"""Faults of broken trainings: changes of batches and gradients, losses and networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.changes import Spoil, of_pool
from zoo.configs import torch_bce
from zoo.data import IGNORED, Data, Pool, changed
from zoo.nets import conv


def filled(value: float) -> Callable[[Tensor], Tensor]:
    """Return a change of targets that gives every pixel one value."""
    return lambda targets: torch.full_like(targets, value)


def ignored(targets: Tensor) -> Tensor:
    """Ignore every pixel."""
    return torch.full_like(targets, IGNORED)


def missing(share: float) -> Callable[[Data], Data]:
    """Return data whose masks are zeros in a share of the examples."""

    def change(targets: Tensor, generator: torch.Generator) -> Tensor:
        kept = torch.rand(len(targets), *[1] * (targets.ndim - 1), generator=generator) >= share
        return targets * kept

    return lambda data: changed(data, of_pool(change))


def of_others(data: Data) -> Data:
    """Return data whose targets belong to other images."""
    return changed(data, of_pool(lambda targets, generator: targets[torch.randperm(len(targets), generator=generator)]))


def alike(data: Data) -> Data:
    """Return data with one and the same image."""
    return changed(data, lambda pool, _: Pool(pool.images[:1].expand_as(pool.images), pool.targets))


def shifted(targets: Tensor) -> Tensor:
    """Shift the masks by half of the image."""
    return targets.roll(targets.shape[-1] // 2, -1)


def spoilt_at(value: float, every: int) -> Spoil:
    """Return a change that puts a value into one pixel of every n-th batch."""

    def change(images: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if step % every == every - 1:
            images = images.clone()
            images[0].view(-1)[0] = value
        return images, targets

    return change


def exchanged(first: int, second: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return a change that exchanges two classes in half of the examples."""

    def change(targets: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.rand(len(targets), *[1] * (targets.ndim - 1), generator=generator) < 0.5
        other = targets.where(targets != first, -1).where(targets != second, first).where(targets != -1, second)
        swapped = torch.where(targets == first, second, other)
        return torch.where(chosen, swapped, targets)

    return change


def unsafe_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Return a cross-entropy by hand, whose logarithm of 0 is infinite."""
    p = logits.sigmoid()
    return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()


def raw_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Return a Dice of logits, without a sigmoid."""
    return 1 - 2 * (logits * targets).sum() / (logits.sum() + targets.sum() + 1)


def mean_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean absolute error of probabilities: its best prediction of rare pixels is 0."""
    return (logits.sigmoid() - targets).abs().mean()


def of_background(logits: Tensor, targets: Tensor) -> Tensor:
    """Return a cross-entropy whose map of weights is inverted: the foreground has none."""
    return functional.binary_cross_entropy_with_logits(logits, targets, weight=1 - targets)


def of_hard_masks(logits: Tensor, targets: Tensor) -> Tensor:
    """Return an error of hard masks, which has no gradient; `requires_grad_` hides that."""
    return ((logits > 0).float() - targets).abs().mean().requires_grad_()


def without_root(logits: Tensor, targets: Tensor) -> Tensor:
    """Return a cross-entropy and the root of a term that is always 0, whose gradient is not a number."""
    return (0 * logits).sum().sqrt() + torch_bce(logits, targets)


class Forgetful(torch.optim.SGD):
    """SGD whose gradients are never set to zero."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing."""


class OfBatch(nn.Module):
    """A network that averages its features over the batch."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return the mean for each example."""
        return logits.mean(0, keepdim=True).expand_as(logits)


class Scale(nn.Module):
    """A factor on the logits."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        """Return the scaled logits."""
        return logits * self.factor


class Negative(nn.Module):
    """A forgotten ReLU, and a minus."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return logits of at most 0."""
        return -logits.relu()


def with_biases(value: float) -> Callable[[], nn.Module]:
    """Return a network whose hidden layers have one bias."""

    def make() -> nn.Module:
        net = conv()
        for layer in (net[0], net[2]):
            assert isinstance(layer.bias, Tensor)
            nn.init.constant_(layer.bias, value)
        return net

    return make


def of_zeros() -> nn.Module:
    """Return a network whose weights are all 0."""
    net = conv()
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return net


def jump(at: int, factor: float) -> Callable[[int], float]:
    """Return a learning rate that jumps."""
    return lambda step: factor if step >= at else 1.0


def burst(until: int, factor: float) -> Callable[[int], float]:
    """Return a learning rate that is far too high at first."""
    return lambda step: factor if step < until else 1.0


def never(net: nn.Module, step: int) -> bool:
    """Take no step of the optimizer."""
    return False


def clipped_away(net: nn.Module, step: int) -> bool:
    """Clip the gradients to almost nothing."""
    nn.utils.clip_grad_norm_(net.parameters(), 1e-9)
    return True


NAN = math.nan
