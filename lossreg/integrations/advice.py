"""Advice for refused inputs: the adapter that would bring them to the form of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lossreg.integrations.adapt import Adapt, described


def advice(inputs: Sequence[Any], adapt: Any = None) -> str:
    """Return the adapter that inputs need which a loss has refused; empty if none helps.

    Args:
        inputs: that the loss has refused.
        adapt: the adapter that they come from. Its fields are part of the advice; a function is left alone.
    """
    if len(inputs) < 2 or not (adapt is None or isinstance(adapt, Adapt)):
        return ""
    given = {name: value for name, value in vars(adapt or Adapt()).items() if value not in (None, False)}
    field, value, why = _lacking(*inputs[:2])
    if not field or field in given:
        return ""
    return f"write Tracked(..., adapt={ {**given, field: value} }), {why}"


def _lacking(first: Any, second: Any) -> tuple[str, object, str]:
    """Return the field of an adapter that would help, its value and the reason."""
    if not isinstance(first, Tensor):
        key = _key_of_logits(first, second)
        return ("", None, "") if key is None else ("key", key, f"since the input is {described(first)}")
    if not isinstance(second, Tensor):
        return "", None, ""
    if _is_target(first) and second.is_floating_point() and not _is_target(second):
        return "target_first", True, "if the trainer calls the loss with the target first"
    if not first.is_floating_point() or first.ndim < 3:
        return "", None, ""
    if _is_channels_last(first, second):
        return "channels_last", True, "if the last axis holds the channels"
    axes = first.ndim - 2
    if first.shape[2:] != second.shape[-axes:] and second.shape[:-axes] in (first.shape[:1], first.shape[:2]):
        mode = {1: "nearest", 2: "bilinear", 3: "trilinear"}.get(axes, "nearest")
        return "resize", mode, "which brings the logits to the target's size"
    return "", None, ""


def _key_of_logits(output: Any, target: Any) -> Any:
    """Return the place of the logits in the output of a model: by their name, by the target's size, or the first."""
    if isinstance(output, Mapping):
        parts = dict(output)
    elif isinstance(output, Sequence):
        parts = dict(enumerate(output))
    else:
        parts = {"logits": getattr(output, "logits", None), **getattr(output, "__dict__", {})}
    size = tuple(getattr(target, "shape", ()))
    tensors = {key: part for key, part in parts.items() if isinstance(part, Tensor) and part.ndim}  # a loss has none
    tensors = {key: part for key, part in tensors.items() if not size or len(part) == size[0]}
    fitting = [key for key, part in tensors.items() if part.ndim > 2 and part.shape[2:] == size[2 - part.ndim :]]
    return "logits" if "logits" in tensors else next(iter([*fitting, *tensors]), None)


def _is_target(value: Tensor) -> bool:
    """Return True for masks and class indices. Reading the values waits for the device: only after a refusal."""
    if not value.is_floating_point():
        return True
    wide = value.detach().float()
    return bool(((wide == 0) | (wide == 1)).all())


def _is_channels_last(first: Tensor, second: Tensor) -> bool:
    """Return True if the shapes fit as (N, *, C), or would after a resize, and not as (N, C, *)."""
    is_few = first.shape[-1] < min(first.shape[1:-1])
    if second.ndim == first.ndim:
        last, channels_first = second.shape[1:-1], second.shape[2:]
        is_same = first.shape[:-1] == second.shape[:-1] and is_few and first.shape[1] > 1
    else:
        last = channels_first = second.shape[1:]
        is_same = first.shape[:-1] == second.shape and first.shape[2:] != channels_first
    is_scaled = _is_scaled(first.shape[1:-1], last) and not _is_scaled(first.shape[2:], channels_first)
    return is_same or (is_scaled and is_few and len(first) == len(second))


def _is_scaled(size: Sequence[int], other: Sequence[int]) -> bool:
    """Return True if each axis is larger by the same factor."""
    return len(size) == len(other) and len({b / max(a, 1) for a, b in zip(size, other, strict=True)}) == 1
