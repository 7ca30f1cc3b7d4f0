"""Advice for refused inputs: the adapter that would bring them to the form of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lossreg.integrations.adapt import described


def advice(inputs: tuple[Any, ...]) -> str:
    """Return the adapter that inputs need which a loss has refused; empty if none helps."""
    if len(inputs) < 2:
        return ""
    first, second = inputs[:2]
    if not isinstance(first, Tensor):
        return _choose(first)
    if not isinstance(second, Tensor):
        return ""
    if _is_target(first) and second.is_floating_point() and not _is_target(second):
        return _write("target_first", True, "if the trainer calls the loss with the target first")
    if not first.is_floating_point() or first.ndim < 3:
        return ""
    if _is_channels_last(first, second):
        return _write("channels_last", True, "if the last axis holds the channels")
    axes = first.ndim - 2
    if second.ndim > axes and first.shape[0] == second.shape[0] and first.shape[2:] != second.shape[-axes:]:
        mode = {1: "nearest", 2: "bilinear", 3: "trilinear"}.get(axes, "nearest")
        return _write("resize", mode, "which brings the logits to the target's size")
    return ""


def _choose(output: Any) -> str:
    """Advise the key of the logits in the output of a model."""
    if isinstance(output, Mapping):
        tensors = [key for key, value in output.items() if isinstance(value, Tensor)]
        key = "logits" if "logits" in output else next(iter(tensors), None)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        key = next((n for n, value in enumerate(output) if isinstance(value, Tensor)), None)
    else:
        key = "logits" if hasattr(output, "logits") else None
    return "" if key is None else _write("key", key, f"since the input is {described(output)}")


def _is_target(value: Tensor) -> bool:
    """Return True for masks and class indices. Reading the values waits for the device: only after a refusal."""
    if not value.is_floating_point():
        return True
    wide = value.detach().float()
    return bool(((wide == 0) | (wide == 1)).all())


def _is_channels_last(first: Tensor, second: Tensor) -> bool:
    """Return True if the shapes fit as (N, *, C), and not as (N, C, *)."""
    if second.ndim == first.ndim:
        is_same = first.shape[:-1] == second.shape[:-1]
        return is_same and first.shape[-1] < min(first.shape[1:-1]) and first.shape[1] > 1
    return first.shape[:-1] == second.shape and first.shape[:1] + first.shape[2:] != second.shape


def _write(field: str, value: object, why: str) -> str:
    return f"write Tracked(..., adapt={{{field!r}: {value!r}}}), {why}"
