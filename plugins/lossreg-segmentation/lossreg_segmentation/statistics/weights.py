"""The weight of each position: its checks, and the form in which the implementations read it."""

from __future__ import annotations

import torch
from torch import Tensor

from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg_segmentation.statistics.checks import check_layout, counting
from lossreg_segmentation.statistics.plain import has_values, wants_gradient, without_notes
from lossreg_segmentation.statistics.request import sums_dtype


def read_weight(weight: Tensor, input: Tensor, activation: str) -> Tensor:
    """Return checked weights as (B, C, *) or (B, 1, *) in the type of the sums; their values are not checked."""
    check_weight(weight, input, activation)
    return with_channel(without_notes(weight).detach().to(sums_dtype(input)), input)


def with_channel(weight: Tensor, input: Tensor) -> Tensor:
    """Return weights (B, *) as (B, 1, *), and others as they are."""
    return weight.unsqueeze(1) if weight.ndim < input.ndim else weight


def check_weight(weight: Tensor, input: Tensor, activation: str) -> None:
    """Check the type, the device and the shape of weights for the positions of logits."""
    if not isinstance(weight, Tensor):
        raise DTypeError(f"weight must be a tensor, got {type(weight).__name__}; use torch.as_tensor(weight)")
    check_layout("weight", weight)
    if not (weight.is_floating_point() or weight.dtype == torch.bool):
        raise DTypeError(f"weight must be floating or bool, got {weight.dtype}; use weight.float()")
    if wants_gradient(weight):
        raise InputError("weight requires a gradient, which no loss gives to it; use weight.detach()")
    if weight.device != input.device:
        raise InputError(f"input is on {input.device} and weight on {weight.device}; move one with .to()")
    batch, _, *size = input.shape
    shared, alone = (batch, 1, *size), (batch, *size)
    allowed = {shared: None, alone: None}
    if activation == "sigmoid":
        allowed = {tuple(input.shape): None, **allowed}
    if tuple(weight.shape) in allowed:
        return
    reason = "nothing is broadcast: use weight.expand(...)"
    if weight.shape == input.shape:
        reason = "the classes of a pixel have one weight: weigh classes by class_weight"
    raise ShapeError(
        f"input has shape {tuple(input.shape)}, so weight must have shape {' or '.join(map(str, allowed))},"
        f" got {tuple(weight.shape)}; {reason}"
    )


def weighed(target: Tensor, weight: Tensor) -> Tensor:
    """Return the target with 0 where nothing weighs: its values there are of no account."""
    kept = weight > 0
    if target.ndim < weight.ndim:
        kept = kept.squeeze(1)
    elif target.shape[1] == 1:
        kept = kept.any(1, keepdim=True)
    return counting(target).masked_fill(~kept, 0)


def check_weight_values(weight: Tensor) -> None:
    """Check that weights are finite and >= 0. Reading the values synchronises with a device."""
    if weight.numel() == 0 or not has_values(weight):
        return
    low, high = (value.item() for value in torch.aminmax(weight))
    if not (low >= 0 and high < torch.inf):  # written so that NaN fails
        wrong = high if not high < torch.inf else low
        raise InputError(f"weight contains {wrong}, weights must be finite and >= 0; set 0 for positions to ignore")
