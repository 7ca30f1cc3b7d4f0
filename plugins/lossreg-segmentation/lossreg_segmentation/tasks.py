"""The task of a loss, which is the meaning of its channels: given by the user or inferred from logits and target."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

from torch import Tensor

from lossreg.errors import InputError, ShapeError
from lossreg_segmentation.shapes import check_axes, misfit
from lossreg_segmentation.statistics.checks import check_target

Task = Literal["auto", "binary", "multilabel", "multiclass", "shared"]


def check_task(task: str, *, name: str, allowed: Collection[str]) -> None:
    """Raise InputError for a task that does not exist, or that the loss has not: no input would fit it."""
    if task not in get_args(Task):
        raise InputError(f"task is {', '.join(map(repr, get_args(Task)[:-1]))} or 'shared', got {task!r}")
    meant = "multilabel" if task == "shared" else task
    if task != "auto" and meant not in allowed:
        raise _of_another_task(name, allowed, f"task={task!r}", is_classes=task == "multiclass")


def task_of(input: Tensor, target: Tensor, task: str, *, name: str, allowed: Collection[str]) -> str:
    """Return the given task, or for "auto" the only one that fits; check that the shapes fit it.

    Args:
        name: name of the loss, for messages.
        allowed: tasks of the loss.
    """
    check_target(input, target)
    if task == "shared" and "multilabel" in allowed:
        return _shared(input, target)
    check_axes(input, target, task)
    found = task if task != "auto" else _inferred(input, target, allowed)
    if found not in allowed:
        raise _of_another_task(name, allowed, f"a {found} target", is_classes=found == "multiclass")
    classes = input.shape[1]
    if found == "binary" and classes != 1:
        raise ShapeError(
            f"task='binary' takes one channel, got C={classes}; use task='multilabel' for independent masks,"
            " 'multiclass' for mutually exclusive classes"
        )
    if found == "multiclass" and classes == 1:
        raise ShapeError("task='multiclass' with one channel is constant 1 after softmax; use task='binary'")
    if target.shape != input.shape and target.shape != (input.shape[0], *input.shape[2:]):
        raise misfit(input, target)
    if found == "multilabel" and target.ndim < input.ndim and classes != 1:
        raise ShapeError(
            f"task='multilabel' takes one mask per channel, target {tuple(input.shape)}, got {tuple(target.shape)}"
        )
    return found


def _of_another_task(name: str, allowed: Collection[str], given: str, *, is_classes: bool) -> InputError:
    """Return the error for a task that the loss has not."""
    fix = (
        "for mutually exclusive classes use cross_entropy, focal or an overlap loss"
        if is_classes
        else "for independent masks use bce, focal or an overlap loss"
    )
    return InputError(f"{name} is for {' and '.join(allowed)}, got {given}; {fix}")


def _shared(input: Tensor, target: Tensor) -> str:
    """Return the task of C predictions of one mask: each is an independent mask."""
    batch, _, *pixels = input.shape
    if target.shape not in ((batch, *pixels), (batch, 1, *pixels)):
        raise ShapeError(
            f"task='shared' takes one mask for all C predictions: input has shape {tuple(input.shape)}, so target must"
            f" have shape {(batch, *pixels)} or {(batch, 1, *pixels)}, got {tuple(target.shape)}; for a mask of each"
            " channel set task='multilabel'"
        )
    return "multilabel"


def _inferred(input: Tensor, target: Tensor, allowed: Collection[str]) -> str:
    """Return the task if shapes and the tasks of the loss allow only one."""
    if input.shape[1] == 1:
        return "binary"
    if target.ndim < input.ndim:
        return "multiclass"
    fitting = [task for task in ("multilabel", "multiclass") if task in allowed]
    if input.ndim < 4 and target.shape == input.shape:
        raise _unknown_axis(input, fitting)
    if len(fitting) == 1:
        return fitting[0]
    if target.shape != input.shape:
        raise misfit(input, target)  # under any task
    channels_last = input.ndim > 3 and input.shape[-1] < input.shape[1]
    raise InputError(
        f"a target of shape {tuple(target.shape)} may be independent masks or one-hot classes:"
        " set task='multilabel' (sigmoid) or task='multiclass' (softmax)"
        + ("; if its last dimension has the channels, use .movedim(-1, 1) on input and target" if channels_last else "")
    )


def _unknown_axis(input: Tensor, tasks: Collection[str]) -> InputError:
    """Return the error for an axis that may be channels or pixels, each with another loss."""
    add = "masks (N, H, W) use .unsqueeze(1)" if input.ndim == 3 else "one mask (H, W) use [None, None]"
    given = " or ".join(f"task={task!r}" for task in tasks)
    return InputError(
        f"axis 1 of input and target {tuple(input.shape)} may be pixels or channels: for {add} on both, for channels"
        f" set {given}"
    )
