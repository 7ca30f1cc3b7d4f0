"""A few numbers per mask, computed where the tensors are and not waited for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["auto", "sigmoid", "softmax", "none"]

MOST_VALUES = 2**22  # larger predictions are read at every n-th pixel along each axis: the means hardly differ


def presence(target: Tensor, ignore_index: int | None, *, background: bool) -> Tensor:
    """(B, 2): 1 where there is foreground and 0 where not, -1 where all is ignored; and the share that is valid.

    Every pixel is read, so that not even one of foreground is missed.

    Args:
        target: (B, *), classes, or masks.
        background: whether the first channel of masks is a class of its own, and no foreground.
    """
    import torch

    there = (target > 0.5)[:, 1:] if background else target > 0.5
    share = torch.ones(len(target), device=target.device)
    if ignore_index is not None:
        valid = target != ignore_index
        there = there & (valid[:, 1:] if background else valid)
        share = valid.reshape(len(valid), -1).float().mean(1)
    found = there.reshape(len(there), -1).any(1).float()
    return torch.stack([found.where(share > 0, -1.0), share], 1)


def mask_statistics(
    prediction: Tensor, target: Tensor | None, activation: Activation, ignore_index: int | None
) -> Tensor:
    """(B, C, 9): the fields of `Mask` in their order, those of the target 0 where there is none.

    Args:
        prediction: (B, C, *), without a graph.
        target: masks (B, C, *), or classes (B, *).
    """
    import torch

    axes, every = prediction.ndim - 2, stride(prediction)
    raw = _thinned(prediction, axes, every).float()
    has_classes = target is not None and target.ndim < prediction.ndim
    probability = _probability(raw, "softmax" if activation == "auto" and has_classes else activation)
    raw, probability = _pixels(raw), _pixels(probability)
    weights = None
    if target is not None:
        target = _thinned(target, axes, every)
        target = target.unsqueeze(1) if has_classes else target
        if ignore_index is not None:
            weights = _pixels((target != ignore_index).expand(raw.shape[0], prediction.shape[1], *target.shape[2:]))
        if has_classes:
            numbers = torch.arange(prediction.shape[1], device=target.device)
            target = target == numbers.view(-1, *([1] * axes))
        target = _pixels(target).float()
    predicted = _mean(probability, weights)
    spread = _mean((probability - predicted.unsqueeze(-1)).square_(), weights).sqrt()
    valid = predicted.new_ones(predicted.shape) if weights is None else weights.float().mean(-1)
    fields = [valid, predicted, spread, raw.amin(-1), raw.amax(-1)]
    if target is None:
        return torch.stack(fields + [torch.zeros_like(predicted)] * 4, -1)
    off = (probability - target).abs_()
    fields += [_mean(part, weights) for part in (target, target > 0.5, off > 0.5, off > 0.9999)]
    return torch.stack(fields, -1)


def stride(prediction: Tensor) -> int:
    """Every how many pixels along each axis are read, so that there are about `MOST_VALUES` at most."""
    axes = prediction.ndim - 2
    return max(1, math.ceil((prediction.numel() / MOST_VALUES) ** (1 / axes))) if axes else 1


def _thinned(tensor: Tensor, axes: int, every: int) -> Tensor:
    """At every n-th pixel along the last axes."""
    return tensor if every == 1 else tensor[(slice(None),) * (tensor.ndim - axes) + (slice(None, None, every),) * axes]


def _pixels(tensor: Tensor) -> Tensor:
    """(B, C, pixels)."""
    return tensor.reshape(*tensor.shape[:2], -1)


def _probability(raw: Tensor, activation: str) -> Tensor:
    if activation == "softmax":
        return raw.softmax(1)
    return raw if activation == "none" else raw.sigmoid()


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """(B, C): over the pixels that are not ignored; 0 where all are."""
    if weights is None:
        return values.float().mean(-1)
    return values.float().where(weights, 0.0).sum(-1) / weights.sum(-1).clamp(min=1)
