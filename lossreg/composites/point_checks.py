"""The checks of losses on sampled points: the parts, the masks, and the maps that are sampled with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg.loss import Loss
from lossreg.loss.calls import PerPixel


def check_part(part: nn.Module, ignore_index: int | None) -> None:
    """Raise InputError for a part with softmax or another ignore_index. Parts without these attributes pass."""
    own = getattr(part, "ignore_index", ignore_index)
    if own != ignore_index:
        raise InputError(
            f"point_sampled has ignore_index={ignore_index}, {type(part).__name__} inside has {own}; give both the"
            " same, since points that mix ignored pixels with others are marked before it sees them"
        )
    if getattr(part, "task", None) == "multiclass":
        raise InputError(
            f"{type(part).__name__} inside has task='multiclass'; point_sampled takes other points for each channel,"
            " which softmax would mix: use task='multilabel'"
        )
    if getattr(part, "task", None) == "shared":
        raise InputError(
            f"{type(part).__name__} inside has task='shared', but each channel has its own points of the target: use"
            " task='multilabel', and give target.expand_as(input), from (N, 1, *)"
        )
    if getattr(part, "positional", False) and not distances_of(part):
        raise InputError(
            f"{type(part).__name__} inside compares neighbouring pixels, and points have no neighbours; put it beside"
            " point_sampled in a weighted_sum"
        )


def check_derivatives(input: Tensor) -> None:
    """Raise InputError for logits with a tangent: torch has no derivative in forward mode between pixels."""
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(input).tangent is not None:
        raise InputError(
            "values at points have no derivative in forward mode, since torch's grid_sample has none: use .backward(),"
            " torch.func.grad or torch.func.vjp"
        )


def distances_of(part: nn.Module) -> list[str]:
    """Return the names of the maps without which a loss would measure distances between pixels."""
    if not getattr(part, "positional", False) or not isinstance(part, Loss):
        return []
    return [name for name, meaning in part.maps().items() if meaning == "distance"]


def check_masks(input: Tensor, target: Tensor, *, empty_batch: bool) -> None:
    """Raise an error for logits and target that are no masks (N, C, H, W) or (N, C, D, H, W) of one shape."""
    for name, given in (("input", input), ("target", target)):
        if not isinstance(given, Tensor):
            raise DTypeError(f"{name} must be a tensor, got {type(given).__name__}")
    if not input.is_floating_point():
        raise DTypeError(f"input must be floating-point logits, got {input.dtype}")
    if input.ndim not in (4, 5):
        add = "; for masks (N, H, W) use .unsqueeze(1) on input and target" if input.ndim == 3 else ""
        raise ShapeError(f"input must be (N, C, H, W) or (N, C, D, H, W), got {tuple(input.shape)}{add}")
    if 0 in (input.shape[1:] if empty_batch else input.shape):  # other ranks may have examples
        raise ShapeError(f"input has shape {tuple(input.shape)}: the batch is empty; skip empty batches in the loader")
    allowed = [tuple(input.shape)] + [(input.shape[0], *input.shape[2:])] * (input.shape[1] == 1)
    if tuple(target.shape) not in allowed:
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, so target must be masks of shape {' or '.join(map(str, allowed))},"
            f" got {tuple(target.shape)}; class indices are not accepted, since each channel has its own points"
        )


def map_of(values: Any, name: str, meaning: PerPixel, input: Tensor) -> Tensor:
    """Return a map for each channel, in the type of the logits."""
    if meaning == "labels":
        raise InputError(
            f"point_sampled cannot sample {name}=, whose numbers have nothing between them; use the loss without it"
        )
    if not isinstance(values, Tensor):
        raise DTypeError(f"{name} must be a tensor, got {type(values).__name__}; use torch.as_tensor({name})")
    if meaning == "weight" and not (values.is_floating_point() or values.dtype == torch.bool):
        raise DTypeError(f"{name} must be floating or bool, got {values.dtype}; use {name}.float()")
    whole = values.unsqueeze(1) if values.ndim == input.ndim - 1 else values
    if whole.shape not in (input.shape, (input.shape[0], 1, *input.shape[2:])):
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, so {name} must have that shape, one channel or none, got"
            f" {tuple(values.shape)}"
        )
    return whole.to(input.dtype).expand(input.shape)
