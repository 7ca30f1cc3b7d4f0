"""The tensors of a row, and one step over them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from peers import LossFunction
from rows import Row
from torch import Tensor
from torch.nn import functional


class Work(NamedTuple):
    """The tensors of a row: the arguments of the losses, and the arguments that have a gradient, logits first."""

    arguments: tuple[Tensor, ...]  # the logits of each step, the target, and what else the loss takes
    leaves: tuple[Tensor, ...]
    steps: int = 1

    @property
    def logits(self) -> tuple[Tensor, ...]:
        """Return the logits of each step."""
        return self.arguments[: self.steps]

    @property
    def target(self) -> Tensor:
        """Return the target of all steps."""
        return self.arguments[self.steps]

    def must_move(self) -> int:
        """Count the bytes of reading logits and target forward and backward, and of writing the gradient."""
        logits = sum(tensor.nbytes for tensor in self.logits)
        return 2 * (logits + self.target.nbytes) + logits

    def gradients(self) -> int:
        """Count the bytes of the gradients."""
        return sum(leaf.nbytes for leaf in self.leaves)

    def in_float64(self) -> tuple[Tensor, ...]:
        """Return the arguments, with floats as float64."""
        return tuple(x.detach().double() if x.is_floating_point() else x for x in self.arguments)

    def with_target(self, target: Tensor) -> Work:
        """Return the same with another target."""
        return self._replace(arguments=(*self.logits, target, *self.arguments[self.steps + 1 :]))


def make_work(row: Row, device: torch.device, seed: int = 0) -> Work:
    """Draw random logits and a target with about a tenth positives, or with all classes equally often."""
    torch.manual_seed(seed)
    n, c, *size = row.shape
    logits = tuple((2 * torch.randn(row.shape)).to(device, row.dtype).requires_grad_() for _ in range(row.steps))
    if row.target == "index":
        return Work((*logits, torch.randint(c, (n, *size)).to(device)), logits)
    if row.target == "discs":
        masks = discs(n, c, *size).to(device)
        near = (logits[0].detach() + 4 * (2.0 * masks - 1)).requires_grad_()
        return Work((near, masks), (near,))
    shape = row.shape if row.target == "mask" else (n, *size)
    target = (torch.rand(shape) < 0.1).to(device, torch.uint8)
    if row.target == "mask":
        return Work((*logits, target), logits)
    ious = tuple(torch.rand(n, c).to(device).requires_grad_() for _ in range(row.steps))
    if row.target == "shared":
        return Work((*logits, target, *ious), (*logits, *ious))
    scores = tuple(torch.randn(n, 1).to(device).requires_grad_() for _ in range(row.steps))
    return Work((*logits, target, *ious, *scores), (*logits, *ious, *scores), row.steps)


def soft(work: Work) -> Work:
    """Replace masks by probabilities of .05 and .95, and class indices by probabilities that lean to the class."""
    target = work.target
    if target.dtype != torch.int64:
        return work.with_target(0.05 + 0.9 * target.float())
    classes = work.logits[0].shape[1]
    return work.with_target(
        0.1 / classes + 0.9 * functional.one_hot(target, classes).movedim(-1, 1).float().contiguous()
    )


def partly_ignored(work: Work, value: int) -> Work:
    """Replace a twentieth of the target by the value that a loss ignores."""
    torch.manual_seed(1)
    chosen = torch.rand(work.target.shape).to(work.target.device) < 0.05
    return work.with_target(work.target.masked_fill(chosen, value))


def discs(n: int, c: int, height: int, width: int) -> Tensor:
    """Draw masks of five discs each, uint8."""
    down, across = torch.arange(height).view(-1, 1), torch.arange(width)
    masks = torch.zeros(n, c, height, width, dtype=torch.uint8)
    for mask in masks.flatten(0, 1):
        for y, x, radius in torch.rand(5, 3).tolist():
            inside = (down - y * height) ** 2 + (across - x * width) ** 2 < (0.05 + 0.1 * radius) ** 2 * height * width
            mask[inside] = 1
    return masks


def run(loss: LossFunction, work: Work) -> Tensor:
    """Take a step, forward and backward, and return its value."""
    value = loss(*work.arguments)
    torch.autograd.grad(value, work.leaves)
    return value.detach()
