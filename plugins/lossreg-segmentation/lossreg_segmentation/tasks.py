"""The task of a loss, which is the meaning of its channels: given by the user or inferred from logits and target."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from torch import Tensor

from lossreg.errors import InputError, ShapeError
from lossreg_segmentation.statistics.checks import SWAPPED

Task = Literal["auto", "binary", "multilabel", "multiclass"]


def task_of(input: Tensor, target: Tensor, task: str, *, name: str, allowed: Collection[str]) -> str:
    """Return the given task, or for "auto" the only one that fits; check that the shapes fit it.

    Args:
        name: name of the loss, for messages.
        allowed: tasks of the loss.
    """
    if input.ndim < target.ndim and input.shape == (target.shape[0], *target.shape[2:]):
        advice = f"use input.unsqueeze(1){SWAPPED}" if target.shape[1] == 1 else SWAPPED.removeprefix(", or ")
        raise ShapeError(
            f"input has shape {tuple(input.shape)} and target {tuple(target.shape)}, expected logits (N, C, *) and a"
            f" target (N, C, *) or (N, *); {advice}"
        )
    found = task if task != "auto" else _inferred(input, target, allowed)
    if found not in allowed:
        raise InputError(
            f"{name} is for {' and '.join(allowed)}, got a {found} target; "
            + (
                "for mutually exclusive classes use cross_entropy, focal or an overlap loss"
                if found == "multiclass"
                else "for independent masks use bce, focal or an overlap loss"
            )
        )
    classes = input.shape[1]
    if found == "binary" and classes != 1:
        raise ShapeError(
            f"task='binary' takes one channel, got C={classes}; use task='multilabel' for independent masks,"
            " 'multiclass' for mutually exclusive classes"
        )
    if found == "multiclass" and classes == 1:
        raise ShapeError("task='multiclass' with one channel is constant 1 after softmax; use task='binary'")
    if target.shape != input.shape and target.shape != (input.shape[0], *input.shape[2:]):
        raise _misfit(input, target)
    if found == "multilabel" and target.ndim < input.ndim and classes != 1:
        raise ShapeError(
            f"task='multilabel' takes one mask per channel, target {tuple(input.shape)}, got {tuple(target.shape)}"
        )
    return found


def _inferred(input: Tensor, target: Tensor, allowed: Collection[str]) -> str:
    """Return the task if shapes and the tasks of the loss allow only one."""
    if input.shape[1] == 1:
        return "binary"
    if target.ndim < input.ndim:
        return "multiclass"
    fitting = [task for task in ("multilabel", "multiclass") if task in allowed]
    if len(fitting) == 1:
        return fitting[0]
    if target.shape == (input.shape[0], 1, *input.shape[2:]):
        raise _misfit(input, target)  # under any task
    channels_last = input.ndim > 3 and input.shape[-1] < input.shape[1]
    raise InputError(
        f"a target of shape {tuple(target.shape)} may be independent masks or one-hot classes:"
        " set task='multilabel' (sigmoid) or task='multiclass' (softmax)"
        + ("; if its last dimension has the channels, use .movedim(-1, 1) on input and target" if channels_last else "")
    )


def _misfit(input: Tensor, target: Tensor) -> ShapeError:
    """Return the error for a target of another shape."""
    batch, _, *pixels = input.shape
    indices = "; class indices have no channel: use target.squeeze(1)" if target.shape == (batch, 1, *pixels) else ""
    return ShapeError(
        f"input has shape {tuple(input.shape)}, so target must have that shape or {(batch, *pixels)}, got"
        f" {tuple(target.shape)}; nothing is broadcast{indices}"
    )
