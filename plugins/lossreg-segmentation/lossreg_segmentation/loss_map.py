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


def loss_map(loss: nn.Module, input: Tensor, target: Tensor, *, weight: Tensor | None = None) -> dict[str, Tensor]:
    """Compute the loss of each pixel, detached, under the name of the term.

    The mean over the pixels of each example or mask, and then over those, is the loss: `map.nanmean()` where no pixel
    is ignored. Weights of classes and pixels are in the map.

    Example:
        >>> import torch, lossreg
        >>> from lossreg_segmentation import loss_map
        >>> loss_map(lossreg.build("bce"), torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, 1.0]]]]))
        {'bce': tensor([[[[0.6931, 0.6931]]]])}

    Args:
        loss: bce, cross_entropy, focal, poly1 or asymmetric_focal.
        input: (B, C, *) logits.
        target: as the loss takes it.
        weight: of each pixel, (B, C, *) or (B, 1, *), as the loss takes it.

    Returns:
        (B, 1, *) for classes, (B, C, *) for masks; NaN where a pixel does not count.

    Raises:
        InputError: the loss is no mean over pixels, absent= is not "score", or labels are smoothed and a class has no
            weight.
    """
    if not isinstance(loss, WITH_MAP):
        raise InputError(
            f"{type(loss).__name__} has no map, because it is no mean over pixels; give loss_map a"
            f" {', '.join(kind.__name__ for kind in WITH_MAP)}{_part_with_map(loss)}"
        )
    task = loss.task_of(input, target)
    if loss.absent != "score":
        raise InputError(f"a map has no policy for absent classes, got absent={loss.absent!r}; use absent='score'")
    if input.ndim == 2:
        weight = weight[..., None] if isinstance(weight, Tensor) else weight
        maps = _maps(loss, input[..., None], target[..., None], weight, task)
        return {name: values.squeeze(-1) for name, values in maps}
    return dict(_maps(loss, input, target, weight, task))


def _part_with_map(loss: nn.Module) -> str:
    """Return the advice to give a part that has a map; empty if there is none."""
    part = next((path for path, each in loss.named_modules() if isinstance(each, WITH_MAP)), "")
    return f", such as loss.get_submodule({part!r})" if part else ""


def _maps(loss: MaskLoss, input: Tensor, target: Tensor, weight: Tensor | None, task: str) -> list[tuple[str, Tensor]]:
    with torch.no_grad(), outside_autocast(input):
        pixels = read_pixels(input, target, task, loss.ignore_index, weight)
        alone = copy.copy(loss)  # with each pixel as an example of its own, whose loss is that of the pixel
        alone.batch, alone.distributed, alone.mean_over = False, "local", "weights"
        alone.task = loss.task if loss.task != "auto" else task  # type: ignore[assignment]
        with implementation("reference"):
            terms = alone.terms(
                _as_examples(input),
                _as_examples(target) if target.ndim == input.ndim else _rows(target),
                weight=None if pixels.weight is None else _as_examples(pixels.weight),
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
    """Return the weight of each pixel, divided by its mean, and True where a pixel counts in that mean.

    Both are (B, 1, *) for classes, and fit (B, C, *) for masks.
    """
    axes = (0, *range(2, pixels.target.ndim)) if loss.batch else tuple(range(2, pixels.target.ndim))
    valid = pixels.valid.to(pixels.logits.dtype)
    own = valid if pixels.weight is None else pixels.weight * valid
    divisor = valid if loss.mean_over == "pixels" else own
    weights = loss.class_weights(pixels.target)
    if weights is None:
        return own * _inverse_mean(divisor, axes), pixels.valid
    by_class = weights.view(-1, *[1] * (pixels.target.ndim - 2))
    if not pixels.multiclass:
        return own * _inverse_mean(divisor, axes) * (by_class * (weights > 0).sum() / weights.sum()), by_class > 0
    if getattr(loss, "label_smoothing", 0) > 0 and (weights == 0).any():
        raise InputError("a map of smoothed labels needs a weight above 0 for every class; set label_smoothing=0")
    of_pixels = own * (by_class * pixels.target).sum(1, keepdim=True)
    if loss.mean_over == "weights":
        divisor = of_pixels
    elif loss.leaves_out:
        divisor = (loss.counted_classes(pixels.target).view(by_class.shape) * pixels.target).sum(1, keepdim=True)
    return of_pixels * _inverse_mean(divisor, axes), divisor > 0


def _inverse_mean(divisor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the number of pixels with a divisor, divided by the sum of these."""
    whole = divisor.sum(axes, keepdim=True).clamp_min(torch.finfo(divisor.dtype).tiny)
    return (divisor > 0).sum(axes, keepdim=True) / whole
