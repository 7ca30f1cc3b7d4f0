"""A few numbers per mask, computed where the tensors are and not waited for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["auto", "sigmoid", "softmax", "none"]

MOST_VALUES = 2**22  # larger predictions are read at every n-th pixel along each axis: the means hardly differ
MOST_MASKS = 512  # of a batch; of more, every n-th example is read, since the host looks at each mask of a window
MOST_CLASSES = 4096  # of more, as of a vocabulary, none is


def every_example(batch: int, classes: int) -> int:
    """Every how many examples the masks are read, so that there are about `MOST_MASKS` at most; 0 for never."""
    return 0 if classes > MOST_CLASSES else max(1, math.ceil(batch * classes / max(MOST_MASKS, classes)))


def presence(target: Tensor, ignore_index: int | None, *, background: bool, classes: int | None = None) -> Tensor:
    """(B, 2): 1 where there is foreground and 0 where not, -1 where all is ignored; and the share that is valid.

    Every pixel is read, so that not even one of foreground is missed.

    Args:
        target: (B, *), classes, or masks.
        background: whether the first channel of masks is a class of its own, and no foreground.
        classes: number of classes if the target holds their indices and this is known; other values do not count.
    """
    import torch

    there = (target > 0.5)[:, 1:] if background else target > 0.5
    share = torch.ones(len(target), device=target.device)
    valid = _valid(target, ignore_index, classes)
    if valid is not None:
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
        target: masks (B, C, *), or classes (B, *), of which values that are none of the C do not count.
    """
    import torch

    axes, every = prediction.ndim - 2, stride(prediction)
    raw = _thinned(prediction, axes, every).float()
    has_classes = target is not None and target.ndim < prediction.ndim
    probability = _probability(raw, "softmax" if activation == "auto" and has_classes else activation)
    raw, probability = _pixels(raw), _pixels(probability)
    weights = None
    if target is not None:
        classes = prediction.shape[1] if has_classes else None
        target, weights = _masks(_thinned(target, axes, every), ignore_index, classes)
    count = probability.new_full((1, 1), raw.shape[-1])
    valid = torch.ones_like(raw[..., 0])
    if weights is not None and target is not None:  # zero in both where nothing counts, so that sums pass it over
        probability, target = probability.where(weights, 0.0), target.where(weights, 0.0)
        found = weights.float().sum(-1)
        count, valid = found.clamp(min=1), (found / raw.shape[-1]).expand_as(valid)
    predicted = probability.sum(-1) / count
    apart = (probability - predicted.unsqueeze(-1)).square_()
    spread = ((apart if weights is None else apart.where(weights, 0.0)).sum(-1) / count).sqrt()
    fields = [valid, predicted, spread, raw.amin(-1), raw.amax(-1)]
    if target is None:
        return torch.stack(fields + [torch.zeros_like(predicted)] * 4, -1)
    off = (probability - target).abs_()
    fields += [part.float().sum(-1) / count for part in (target, target > 0.5, off > 0.5, off > 0.9999)]
    return torch.stack(fields, -1)


def _masks(target: Tensor, ignore_index: int | None, classes: int | None) -> tuple[Tensor, Tensor | None]:
    """The target as (B, C, pixels), and where it counts, (B, C or 1, pixels), None if everywhere."""
    import torch

    target = _pixels(target if classes is None else target.unsqueeze(1))
    valid = _valid(target, ignore_index, classes)
    if classes is not None:
        target = target == torch.arange(classes, device=target.device).unsqueeze(-1)
    return target.float(), valid


def _valid(target: Tensor, ignore_index: int | None, classes: int | None) -> Tensor | None:
    """Where pixels count; None if all do."""
    valid = None if ignore_index is None else target != ignore_index
    if classes is None:
        return valid
    known = (target >= 0) & (target < classes)  # 255 and -100 mark pixels that the loss ignores
    return known if valid is None else known & valid


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
