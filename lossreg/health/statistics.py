"""Statistics of masks: a few numbers each, computed on the device without blocking."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["auto", "sigmoid", "softmax", "none"]

MOST_VALUES = 2**22  # of a larger prediction every n-th pixel along each axis is used; the means hardly differ
MOST_MASKS = 512  # of a batch; of more, every n-th example is used, because the host reads each mask of a window
MOST_CLASSES = 4096  # with more, such as a vocabulary, no mask is used


def every_example(batch: int, classes: int) -> int:
    """Return n such that the masks of every n-th example are at most about `MOST_MASKS`; 0 for no example."""
    return 0 if classes > MOST_CLASSES else max(1, math.ceil(batch * classes / max(MOST_MASKS, classes)))


def presence(target: Tensor, ignore_index: int | None, *, background: bool, classes: int | None = None) -> Tensor:
    """Return (B, 4): presence, the share of valid pixels, and the lowest and highest value of these.

    Presence is 1 with foreground, 0 without, -1 if all is ignored. Every pixel is read, so that a single pixel of
    foreground counts.

    Args:
        target: (B, *), class indices or masks.
        ignore_index: value of pixels that do not count, or None.
        background: True if the first channel of the masks is the background class.
        classes: number of classes, if the target holds class indices; other values do not count. None if unknown.
    """
    import torch

    target = target.int() if target.dtype in (torch.uint16, torch.uint32) else target  # which have no maximum
    share = torch.ones(len(target), device=target.device)
    valid = _valid(target, ignore_index, classes)
    if valid is not None:
        share = valid.reshape(len(valid), -1).float().mean(1)
        target = target.where(valid, torch.zeros((), dtype=target.dtype, device=target.device))
    pixels = target.reshape(len(target), -1)
    if not pixels.numel():
        return share.new_zeros(len(target), 4)
    lowest, highest = pixels.amin(1).float(), pixels.amax(1).float()
    top = target[:, 1:].reshape(len(target), -1).amax(1) if background and target.shape[1] > 1 else highest
    return torch.stack([(top > 0.5).float().where(share > 0, -1.0), share, lowest, highest], 1)


def mask_statistics(
    prediction: Tensor, target: Tensor | None, activation: Activation, ignore_index: int | None
) -> Tensor:
    """Return (B, C, 10): the fields of `Mask` in their order. Without a target its fields are 0.

    Args:
        prediction: (B, C, *), without a graph.
        target: masks (B, C, *), or class indices (B, *), or None. Indices outside the C classes do not count.
        activation, ignore_index: those of LossMonitor.
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
    if weights is not None and target is not None:  # 0 in both at ignored pixels, so that sums are right
        probability, target = probability.where(weights, 0.0), target.where(weights, 0.0)
        found = weights.float().sum(-1)
        count, valid = found.clamp(min=1), (found / raw.shape[-1]).expand_as(valid)
    predicted = probability.sum(-1) / count
    apart = (probability - predicted.unsqueeze(-1)).square_()
    spread = ((apart if weights is None else apart.where(weights, 0.0)).sum(-1) / count).sqrt()
    fields = [valid, predicted, spread, raw.amin(-1), raw.amax(-1), _number(probability > 0.5) / count]
    if target is None:
        return torch.stack(fields + [torch.zeros_like(predicted)] * 4, -1)
    off = (probability - target).abs_()
    fields += [target.sum(-1) / count, *(_number(part) / count for part in (target > 0.5, off > 0.5, off > 0.9999))]
    return torch.stack(fields, -1)


def _number(pixels: Tensor) -> Tensor:
    """Return the number of true pixels. As bytes they are summed without a copy of four times their size."""
    import torch

    return pixels.view(torch.uint8).sum(-1, dtype=torch.int32).float()


def _masks(target: Tensor, ignore_index: int | None, classes: int | None) -> tuple[Tensor, Tensor | None]:
    """Return the target (B, C, pixels), and its valid pixels (B, C or 1, pixels), None if all are."""
    import torch

    target = _pixels(target if classes is None else target.unsqueeze(1))
    valid = _valid(target, ignore_index, classes)
    if classes is not None:
        target = target == torch.arange(classes, device=target.device).unsqueeze(-1)
    return target.float(), valid


def _valid(target: Tensor, ignore_index: int | None, classes: int | None) -> Tensor | None:
    """Return a mask of the valid pixels; None if all are."""
    valid = None if ignore_index is None else target != ignore_index
    if classes is None:
        return valid
    known = (target >= 0) & (target < classes)  # 255 and -100 mark pixels that the loss ignores
    return known if valid is None else known & valid


def stride(prediction: Tensor) -> int:
    """Return n such that every n-th pixel along each axis makes at most about `MOST_VALUES` values."""
    axes = prediction.ndim - 2
    return max(1, math.ceil((prediction.numel() / MOST_VALUES) ** (1 / axes))) if axes else 1


def _thinned(tensor: Tensor, axes: int, every: int) -> Tensor:
    """Return every n-th pixel along the last axes."""
    return tensor if every == 1 else tensor[(slice(None),) * (tensor.ndim - axes) + (slice(None, None, every),) * axes]


def _pixels(tensor: Tensor) -> Tensor:
    """Reshape to (B, C, pixels)."""
    return tensor.reshape(*tensor.shape[:2], -1)


def _probability(raw: Tensor, activation: str) -> Tensor:
    if activation == "softmax":
        return raw.softmax(1)
    return raw if activation == "none" else raw.sigmoid()
