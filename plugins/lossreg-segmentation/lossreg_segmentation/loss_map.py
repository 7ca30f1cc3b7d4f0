"""The loss of each pixel, to look at; a pixelwise loss is the mean of its map."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lossreg.errors import InputError
from lossreg_segmentation.dense_loss import Pixels, read_pixels
from lossreg_segmentation.mask_loss import MaskLoss
from lossreg_segmentation.pixelwise import BCE, CrossEntropy, Focal
from lossreg_segmentation.poly import Poly1
from lossreg_segmentation.statistics import implementation
from lossreg_segmentation.statistics.autocast import outside_autocast
from lossreg_segmentation.unified_focal import AsymmetricFocal

WITH_MAP: tuple[type[MaskLoss], ...] = (BCE, CrossEntropy, Focal, Poly1, AsymmetricFocal)


def loss_map(loss: nn.Module, input: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Compute the loss of each pixel, detached, under the name of the term.

    The mean over the pixels of each example or mask, and then over those, is the loss: `map.nanmean()` where no pixel
    is ignored. Weights of classes are in the map.

    Example:
        >>> import torch, lossreg
        >>> from lossreg_segmentation import loss_map
        >>> loss_map(lossreg.build("bce"), torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, 1.0]]]]))
        {'bce': tensor([[[[0.6931, 0.6931]]]])}

    Args:
        loss: bce, cross_entropy, focal, poly1 or asymmetric_focal.
        input: (B, C, *) logits.
        target: as the loss takes it.

    Returns:
        (B, 1, *) for classes, (B, C, *) for masks; NaN where a pixel does not count.

    Raises:
        TypeError: the loss is no mean over pixels.
        InputError: absent= is not "score", or labels are smoothed and some class has no weight.
    """
    if not isinstance(loss, WITH_MAP):
        raise TypeError(
            f"{type(loss).__name__} has no map, because it is no mean over pixels; loss_map takes"
            f" {', '.join(kind.__name__ for kind in WITH_MAP)}, alone or each part of a sum by itself"
        )
    task = loss.task_of(input, target)
    if loss.absent != "score":
        raise InputError(f"a map has no policy for absent classes, got absent={loss.absent!r}; use absent='score'")
    if input.ndim == 2:
        return {name: values.squeeze(-1) for name, values in _maps(loss, input[..., None], target[..., None], task)}
    return dict(_maps(loss, input, target, task))


def _maps(loss: MaskLoss, input: Tensor, target: Tensor, task: str) -> list[tuple[str, Tensor]]:
    with torch.no_grad(), outside_autocast(input):
        pixels = read_pixels(input, target, task, loss.ignore_index)
        alone = copy.copy(loss)  # with each pixel as an example of its own, whose loss is that of the pixel
        alone.batch, alone.distributed, alone.mean_over = False, "local", "weights"
        alone.task = loss.task if loss.task != "auto" else task  # type: ignore[assignment]
        with implementation("reference"):
            terms = alone.terms(
                _as_examples(input), _as_examples(target) if target.ndim == input.ndim else _rows(target)
            )
        scale, counts = _scale(loss, pixels)
        shape = (input.shape[0], *input.shape[2:], -1)
        maps = [(name, term.values.reshape(shape).movedim(-1, 1)) for name, term in terms.items()]
        return [(name, torch.where(pixels.valid & counts, values * scale, torch.nan)) for name, values in maps]


def _as_examples(x: Tensor) -> Tensor:
    """Return (B, C, *) as (B * pixels, C, 1)."""
    return x.flatten(2).movedim(1, 2).reshape(-1, x.shape[1], 1)


def _rows(target: Tensor) -> Tensor:
    """Return (B, *) as (B * pixels, 1)."""
    return target.reshape(-1, 1)


def _scale(loss: MaskLoss, pixels: Pixels) -> tuple[Tensor, Tensor]:
    """Return the weight of each pixel, divided by its mean, (B, 1, *), and True where a pixel counts in that mean.

    Of masks these are one number for each, (C, 1, ...).
    """
    weights = loss.class_weights(pixels.target)
    ones = [1] * (pixels.target.ndim - 2)
    if weights is None:
        return pixels.logits.new_ones(1), pixels.valid
    if not pixels.multiclass:
        return (weights * (weights > 0).sum() / weights.sum()).view(-1, *ones), (weights > 0).view(-1, *ones)
    if getattr(loss, "label_smoothing", 0) > 0 and (weights == 0).any():
        raise InputError("a map of smoothed labels needs a weight above 0 for every class; set label_smoothing=0")
    of_pixels = (weights.view(-1, *ones) * pixels.target).sum(1, keepdim=True)
    divisor = of_pixels
    if loss.mean_over == "pixels":
        divisor = pixels.valid.to(of_pixels.dtype)
        if loss.leaves_out:
            divisor = (loss.counted_classes(pixels.target).view(-1, *ones) * pixels.target).sum(1, keepdim=True)
    axes = (0, *range(2, of_pixels.ndim)) if loss.batch else tuple(range(2, of_pixels.ndim))
    counts = divisor > 0
    whole = divisor.sum(axes, keepdim=True).clamp_min(torch.finfo(divisor.dtype).tiny)
    return of_pixels * counts.sum(axes, keepdim=True) / whole, counts
