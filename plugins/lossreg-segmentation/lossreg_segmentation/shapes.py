"""Shapes of input and target that fit no task, whose errors name the axis that is missing or too many."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from lossreg.errors import ShapeError
from lossreg_segmentation.statistics.advice import SWAPPED, about_class_indices

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}  # of interpolation, by spatial dimensions


def check_axes(input: Tensor, target: Tensor, task: str) -> None:
    """Raise ShapeError for logits without a channel and for the stacked outputs of several heads."""
    if input.ndim < target.ndim and input.shape == (target.shape[0], *target.shape[2:]):
        advice = f"use input.unsqueeze(1){SWAPPED}" if target.shape[1] == 1 else SWAPPED.removeprefix(", or ")
        raise ShapeError(
            f"input has shape {tuple(input.shape)} and target {tuple(target.shape)}, expected logits (N, C, *) and a"
            f" target (N, C, *) or (N, *); {advice}"
        )
    if input.ndim > 3 and _are_heads(input, target, task):
        raise ShapeError(
            f"input has shape {tuple(input.shape)} and target {tuple(target.shape)}: if axis 1 of input stacks the"
            f" outputs of several heads, use input.unbind(1) in deep_supervision{_otherwise(input, target)}"
        )


def _are_heads(input: Tensor, target: Tensor, task: str) -> bool:
    """Return True for logits (N, heads, C, *) of a target (N, C, *), (N, 1, *) or (N, *)."""
    (batch, _, channels), pixels, given = input.shape[:3], input.shape[3:], target.shape
    if not pixels or given[:1] != (batch,):
        return False
    volumes = input.ndim > 4
    if given == (batch, channels, *pixels):  # may be class indices of volumes
        if _is_integer(target):
            return volumes and channels == 1 and task != "multiclass"
        return volumes or channels == 1
    return volumes and given in ((batch, 1, *pixels), (batch, *pixels))


def _otherwise(input: Tensor, target: Tensor) -> str:
    """Return the advice for logits of volumes, which may have the shape of stacked heads."""
    if target.shape != (input.shape[0], *input.shape[2:]):
        return ""
    indices = "set task='multiclass'" if _is_integer(target) else about_class_indices(input, target)
    return f"; for class indices of volumes {indices}"


def _is_integer(target: Tensor) -> bool:
    return not target.is_floating_point() and target.dtype != torch.bool


def misfit(input: Tensor, target: Tensor) -> ShapeError:
    """Return the error for a target of another shape."""
    batch, _, *pixels = input.shape
    return ShapeError(
        f"input has shape {tuple(input.shape)}, so target must have that shape or {(batch, *pixels)}, got"
        f" {tuple(target.shape)}; nothing is broadcast{_fit(input, target)}"
    )


def _fit(input: Tensor, target: Tensor) -> str:
    """Return the call that makes the shapes fit; empty if none is known."""
    batch, channels, *pixels = input.shape
    given = list(target.shape[target.ndim - len(pixels) :])
    if target.shape == (batch, 1, *pixels):
        return "; class indices have no channel: use target.squeeze(1); one mask for all channels: set task='shared'"
    if target.shape == (batch, *pixels, channels):
        return "; the last axis of target has the channels: use target.movedim(-1, 1)"
    if len(pixels) > 1 and target.shape == (batch, *input.shape[1:-1]):
        return "; if the last axis of input has the channels, use input.movedim(-1, 1)"
    if len(pixels) > 1 and target.shape[-1] == prod(pixels):
        return f"; use target.unflatten(-1, {tuple(pixels)})"
    lead = tuple(target.shape[: target.ndim - len(pixels)])
    if lead not in ((batch,), (batch, 1), (batch, channels)) or len(pixels) not in _MODES:
        return ""
    if len(pixels) == 2 and given == pixels[::-1]:
        return "; height and width are in another order: use target.transpose(-1, -2)"
    mode = _MODES[len(pixels)]
    return f"; if both show one image, use F.interpolate(input, {tuple(given)}, mode={mode!r})"
