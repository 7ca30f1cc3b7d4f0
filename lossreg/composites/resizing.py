"""Targets and maps of a value for each pixel, in the size of a level of deep supervision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg.loss.calls import PerPixel


def on_level(value: Any, number: int, levels: Sequence[Tensor], *, name: str, meaning: PerPixel) -> Any:
    """Return what a level gets of a target or map: its own of a list with one per level, or the only one resized.

    Args:
        number: of the level.
        name: of the target or option, for messages.
        meaning: decides how it is resized. Weights and numbers by nearest-exact; a mask by its maximum, which keeps
            thin lines; distances are in pixels, so each level needs its own.
    Raises:
        ShapeError: a list that has not one per level, or a map of other dimensions.
        InputError: one map of distances for levels of several sizes; class indices as a mask with thin lines.
    """
    level = levels[number]
    if isinstance(value, list | tuple):
        if len(value) != len(levels):
            raise _another_number(name, len(value), len(levels))
        return value[number]
    if meaning == "distance":
        if value.shape[_first(value, level, name) :] == level.shape[2:]:
            return value
        raise InputError(
            f"{name} is in pixels of one size, and the levels have several: give a list of one map per level, such as"
            f" {name}=[signed_distance(target at the size of the level) for each level]"
        )
    return maximum(value, level, name=name) if meaning == "mask" else resized(value, level, name=name)


def _another_number(name: str, maps: int, levels: int) -> ShapeError:
    """Return the error for a list that has not one map per level."""
    if levels == 1:
        return ShapeError(
            f"{name} has {maps} maps, but input is one level, the finest: give its map alone, {name}[0], or a list of"
            " the inputs of all levels"
        )
    return ShapeError(f"{name} has {maps} maps for {levels} levels of input; give one per level")


def resized(target: Tensor, level: Tensor, *, name: str = "target") -> Tensor:
    """Resize a target (N, *) or (N, C, *) to a level (N, C, *) by nearest-exact; return one that fits unchanged."""
    size = level.shape[2:]
    for dimension, wanted in enumerate(size, start=_first(target, level, name)):
        given = target.shape[dimension]
        if given != wanted:
            # floor((i + 1/2) given / wanted) in integers: float32 would round whole numbers down to the pixel before.
            index = (2 * torch.arange(wanted, device=target.device) + 1) * given // (2 * wanted)
            target = target.index_select(dimension, index)
    return target


def maximum(mask: Tensor, level: Tensor, *, name: str) -> Tensor:
    """Resize a mask (N, *) or (N, C, *) to a level: a pixel has the largest value of those that it covers."""
    first = _first(mask, level, name)
    if mask.shape[first:] == level.shape[2:]:
        return mask
    if first == 1 and level.shape[1] > 1 and not (mask.is_floating_point() or mask.dtype == torch.bool):
        raise InputError(
            f"{name} has shape {tuple(mask.shape)} for {level.shape[1]} classes, and class indices have no maximum that"
            " keeps the thin lines of each class: give masks (N, C, *), or a list of one map per level"
        )
    wide = mask.dtype if mask.dtype == torch.float64 else torch.float32
    pooled = mask.to(wide) if first == 2 else mask.to(wide).unsqueeze(1)
    for axis, wanted in enumerate(level.shape[2:], start=2):
        if pooled.shape[axis] != wanted:  # axis by axis: torch pools two or three at once, but in fewer types
            moved = pooled.movedim(axis, -1)
            flat = F.adaptive_max_pool1d(moved.reshape(1, -1, moved.shape[-1]), wanted)
            pooled = flat.reshape(*moved.shape[:-1], wanted).movedim(-1, axis)
    return (pooled if first == 2 else pooled.squeeze(1)).to(mask.dtype)


def _first(target: Tensor, level: Tensor, name: str) -> int:
    """Return the dimension of a target (N, *) or (N, C, *) from which its pixels are."""
    if not isinstance(target, Tensor):
        raise DTypeError(f"{name} must be a tensor, got {type(target).__name__}; use torch.as_tensor({name})")
    size = level.shape[2:]
    first = target.ndim - len(size)
    if first not in (1, 2):
        raise ShapeError(
            f"a level of input has shape {tuple(level.shape)}, so {name} must be (N, *) or (N, C, *) with"
            f" {len(size)} spatial dimensions, got {tuple(target.shape)}"
        )
    return first
