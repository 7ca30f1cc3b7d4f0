"""Advice for input that a check refuses: the call that mends it, found in the values. They are read after a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lossreg_segmentation.statistics.plain import has_values

SWAPPED = ", or are input and target swapped?"
_OVERSHOOT = 0.05  # of masks that a smooth interpolation has resized


def about_container(input: object) -> str:
    """Return how to take logits out of what a model returned beside or instead of them."""
    if isinstance(input, Mapping):
        names = [name for name, value in input.items() if isinstance(value, Tensor)]
        return f"; give the tensor alone, such as input[{names[0]!r}]" if names else ""
    if isinstance(input, Sequence) and input and all(isinstance(one, Tensor) for one in input):
        return "; for outputs of several resolutions use deep_supervision, otherwise give the logits alone"
    if hasattr(input, "__array__"):
        return "; give the tensor that the model returned: an array has no gradient"
    return ""


def about_decisions(input: Tensor, target: object) -> str:
    """Return the advice for logits of whole numbers or bool, which have no gradient."""
    if input.is_complex() or input.is_quantized:
        return ""
    question = SWAPPED if isinstance(target, Tensor) and target.is_floating_point() else ""
    return f"; give the model's output before argmax or a threshold, which have no gradient{question}"


def about_gradient(input: Tensor, target: Tensor) -> str:
    """Return the advice for a target that requires a gradient: a teacher's output, or logits in the wrong place."""
    swapped = has_values(input) and has_values(target) and is_mask(input) and not is_mask(target)
    return SWAPPED.removeprefix(", or ") if swapped and not input.requires_grad else "use target.detach()"


def about_class_indices(input: Tensor, target: Tensor) -> str:
    """Return the advice for a target without a channel that is not of integers."""
    soft = f"a soft target of shape {tuple(input.shape)}"
    if not has_values(target):
        return f"use target.long(), or {soft}"
    whole = target.dtype == torch.bool or bool((target == target.round()).all())
    return "use target.long()" if whole else f"give {soft}"


def about_masks(target: Tensor, wrong: float, ignore: str, input: Tensor | None) -> str:
    """Return the advice for mask values outside 0 to 1.

    Args:
        wrong: one of these values.
        ignore: the advice to ignore it.
    """
    if wrong != wrong:
        return "use target.nan_to_num(255) with ignore_index=255 to leave out the pixels that are NaN"
    values = _few_values(target)
    if wrong == 255 and values == {0, 1, 255}:
        return ignore
    if wrong == 255 or (wrong > 127 and values is None and not target.is_floating_point()):
        return f"divide by 255, or {ignore}"
    if target.is_floating_point() and input is not None and is_mask(input):
        return "scale it" + (f", or {ignore}" if ignore else "") + SWAPPED
    if not ignore:
        return "use target.clamp(0, 1)" if -_OVERSHOOT <= wrong <= 1 + _OVERSHOOT else "scale it"
    classes = "give input a channel for each class, " if wrong > 1 else ""
    return f"use target > 0 for a mask of all that is above 0, {classes}or {ignore}"


def about_indices(target: Tensor, wrong: float, ignore: str) -> str:
    """Return the advice for class indices that are no class of the input."""
    if wrong == 255 and _few_values(target) == {0, 255}:
        return f"use target // 255 for masks of 0 and 255, or {ignore}"
    return ignore + (", or give input a channel for each class" if wrong > 0 else "")


def is_mask(x: Tensor) -> bool:
    """Return True if all values are from 0 to 1, as those of a target are, and of logits seldom."""
    return bool(((x >= 0) & (x <= 1)).all())


def _few_values(target: Tensor) -> set[float] | None:
    """Return the values if there are at most three."""
    found = torch.unique(target)
    return set(found.tolist()) if len(found) <= 3 else None
