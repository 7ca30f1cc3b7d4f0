"""Numbers per class, such as weights: kept as they were given, and read in the type and on the device of the input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from lossreg.errors import ShapeError

# Copies on other devices, with the version of the numbers that they have.
_COPIES: Any = WeakTensorKeyDictionary()

# On others a tensor has no values, or no type as wide as float64.
_ELSEWHERE = ("meta", "mps")


def numbers(values: Tensor | Sequence[Any] | float) -> Tensor:
    """Return numbers in float64 on the CPU, under any default device and mode of inference."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float64, device="cpu") if not isinstance(values, Tensor) else values


@cache
def chosen(indices: tuple[int, ...], classes: int) -> Tensor:
    """Return 1 for the classes of these indices and 0 for the others, (C,)."""
    return numbers([float(index in indices) for index in range(classes)])


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Return numbers on the device of their loss, in their own type; where that is impossible, as they are."""
    return values if device.type in _ELSEWHERE else values.to(device)


def as_like(values: Tensor, like: Tensor) -> Tensor:
    """Return numbers in the type and on the device of `like`. Nothing is copied to another device twice."""
    if torch.compiler.is_compiling() or values.requires_grad or values.is_inference():
        return values.to(like)
    if values.device == like.device:
        return values if values.dtype == like.dtype else values.to(like.dtype)
    version, copies = _COPIES.get(values, (None, {}))
    if version != values._version:
        version, copies = values._version, {}
        _COPIES[values] = version, copies
    key = like.device, like.dtype
    if key not in copies:
        copies[key] = values.to(like.dtype).to(like.device)
    copy: Tensor = copies[key]
    return copy


def per_class(name: str, values: Tensor | None, classes: int) -> float | Tensor:
    """Return factors, 1 in place of None; check that there is one number, or one for each class."""
    if values is None:
        return 1.0
    if values.ndim > 1:
        raise ShapeError(f"{name} has shape {tuple(values.shape)}, expected one value per class: use {name}.flatten()")
    if values.ndim == 1 and len(values) != classes:
        raise ShapeError(f"{name} has {len(values)} values, input has {classes} classes; give one per class")
    return values
