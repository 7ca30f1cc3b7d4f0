"""Pairs of a region and its text, and the contrast of each pair with all others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg_segmentation.statistics.request import sums_dtype

MAX_SCALE = 100.0  # of similarities; temperatures below 1/100 make training unstable
# Shorter vectors are not scaled to length 1: their gradient, up to 2 MAX_SCALE / length, would overflow float16.
SHORTEST = 2.0**-8
# Replaces similarities, which are at most MAX_SCALE; its exponential is 0. The gradient of -inf would be NaN.
EXCLUDED = -1e4


class Pairs(NamedTuple):
    """Region and text of each pair, (N, D) of length 1, float32 or wider. Rows of invalid pairs are 0."""

    region: Tensor
    text: Tensor
    caption: Tensor  # (N,) integer; equal for texts of one meaning
    valid: Tensor  # (N,) bool


def read_pairs(
    region: Tensor, text: Tensor, caption: Tensor | None, valid: Tensor | None, *, empty_batch: bool, first: int = 0
) -> Pairs:
    """Check and normalise the pairs.

    Args:
        caption: (N,) integer; None numbers the texts from `first` on, so that all differ.
        valid: (N,) bool; None for all.
    """
    for role, given in (("region", region), ("text", text)):
        if not isinstance(given, Tensor) or not given.is_floating_point():
            kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
            raise DTypeError(f"{role} must be a floating tensor of embeddings, got {kind}")
    if region.ndim != 2 or region.shape != text.shape or not region.shape[1]:
        raise ShapeError(
            f"region has shape {tuple(region.shape)} and text {tuple(text.shape)}, expected (N, D) each: one embedding"
            " per region, and one of its text"
        )
    if not len(region) and not empty_batch:
        raise ShapeError("the batch is empty; skip empty batches in the loader")
    size, device = len(region), region.device
    caption = torch.arange(first, first + size, device=device) if caption is None else caption
    valid = torch.ones(size, dtype=torch.bool, device=device) if valid is None else valid
    _check_labels(caption, valid, size)
    dtype = torch.promote_types(sums_dtype(region), sums_dtype(text))
    return Pairs(_unit(region, valid, dtype), _unit(text, valid, dtype), caption.long(), valid)


def contrast(own: Pairs, others: Pairs, scale: Tensor | float) -> Tensor:
    """Compute InfoNCE of each own pair among `others`, which include them: the mean of both directions, (N,)."""
    positive = (own.caption.unsqueeze(1) == others.caption) & others.valid
    with torch.autocast(own.region.device.type, enabled=False):  # autocast computes products in half precision
        to_text = _cross_entropy(scale * (own.region @ others.text.T), positive, others.valid)
        to_region = _cross_entropy(scale * (own.text @ others.region.T), positive, others.valid)
    return torch.where(own.valid, (to_text + to_region) / 2, 0.0)


def _cross_entropy(similarity: Tensor, positive: Tensor, valid: Tensor) -> Tensor:
    """Compute the cross-entropy of the softmax over valid columns against equal shares of positive ones, (N,)."""
    similarity = torch.where(valid, similarity, EXCLUDED)
    share = positive.to(similarity.dtype) / positive.sum(1, keepdim=True).clamp_min(1)
    return similarity.logsumexp(1) - (share * similarity).sum(1)


def _unit(x: Tensor, valid: Tensor, dtype: torch.dtype) -> Tensor:
    # Zero invalid rows first: a region without pixels often has the embedding 0 / 0, and NaN survives a product with 0.
    x = torch.where(valid.unsqueeze(1), x.to(dtype), 0.0)
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / length.clamp_min(SHORTEST)


def _check_labels(caption: Tensor, valid: Tensor, size: int) -> None:
    for role, given in (("caption", caption), ("valid", valid)):
        if not isinstance(given, Tensor):
            raise DTypeError(f"{role} must be a tensor, got {type(given).__name__}")
        if given.shape != (size,):
            raise ShapeError(f"{role} has shape {tuple(given.shape)}, expected {(size,)}: one value per pair")
    if caption.is_floating_point() or caption.is_complex() or caption.dtype == torch.bool:
        raise DTypeError(f"caption must be integers, equal for texts of one meaning, got {caption.dtype}")
    if valid.dtype != torch.bool:
        raise InputError(
            f"valid must be a bool tensor, False for regions without pixels, got {valid.dtype}; use valid > 0"
        )
