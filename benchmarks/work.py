"""The tensors of a row, and one step over them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from peers import LossFunction, Row
from torch import Tensor


class Work(NamedTuple):
    """The tensors of a row: the arguments of the losses, and the arguments that have a gradient, logits first."""

    arguments: tuple[Tensor, ...]
    leaves: tuple[Tensor, ...]

    def must_move(self) -> int:
        """Count the bytes of reading logits and target forward and backward, and of writing the gradient."""
        return 2 * sum(tensor.nbytes for tensor in self.arguments[:2]) + self.leaves[0].nbytes

    def gradients(self) -> int:
        """Count the bytes of the gradients."""
        return sum(leaf.nbytes for leaf in self.leaves)

    def in_float64(self) -> tuple[Tensor, ...]:
        """Return the arguments, with floats as float64."""
        return tuple(x.detach().double() if x.is_floating_point() else x for x in self.arguments)


def make_work(row: Row, device: torch.device, seed: int = 0) -> Work:
    """Draw random logits and a target with about a tenth positives, or with all classes equally often."""
    torch.manual_seed(seed)
    n, c, *size = row.shape
    logits = (2 * torch.randn(row.shape)).to(device, row.dtype).requires_grad_()
    if row.target == "index":
        return Work((logits, torch.randint(c, (n, *size)).to(device)), (logits,))
    if row.target == "discs":
        masks = discs(n, c, *size).to(device)
        logits = (logits.detach() + 4 * (2.0 * masks - 1)).requires_grad_()
        return Work((logits, masks), (logits,))
    shape = (n, *size) if row.target == "shared" else row.shape
    target = (torch.rand(shape) < 0.1).to(device, torch.uint8)
    if row.target == "mask":
        return Work((logits, target), (logits,))
    predicted_iou = torch.rand(n, c).to(device).requires_grad_()
    return Work((logits, target, predicted_iou), (logits, predicted_iou))


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
