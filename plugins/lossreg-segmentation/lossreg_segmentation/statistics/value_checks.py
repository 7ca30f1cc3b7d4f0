"""The checks of the values of a call: at once, or in a compiled graph by an operator that checks in each call."""

from __future__ import annotations

import torch
from torch import Tensor

from lossreg.authoring import debugging
from lossreg_segmentation.statistics.checks import check_counted, check_values
from lossreg_segmentation.statistics.plain import is_capturing, obstacle
from lossreg_segmentation.statistics.weights import check_weight_values, weighed


def checked(
    input: Tensor, target: Tensor, activation: str, ignore_index: int | None, weight: Tensor | None = None
) -> Tensor:
    """Check the values of target and weights on a CPU, and all of them under lossreg.debug_checks().

    Returns the target. A compiled graph must use it: an operator whose result nobody uses is left out of the graph.
    """
    if not torch.compiler.is_compiling():
        _check_call(input, target, activation, ignore_index, weight)
        return target
    if obstacle(input, target):  # a transform, or a program to export, whose operators are torch's own
        return target
    found: Tensor = torch.ops.lossreg.checked_target(input.detach(), target.detach(), weight, activation, ignore_index)
    return found


def check_pass(input: Tensor, target: Tensor, activation: str, ignore_index: int | None, weight: Tensor | None) -> None:
    """Check the values of weights and target, and under lossreg.debug_checks() of logits that count."""
    if weight is not None:
        check_weight_values(weight)
        target = weighed(target, weight)
    check_values(target, input.shape[1], target.ndim < input.ndim, ignore_index, input)
    if debugging():
        check_counted(input, target, activation, ignore_index, weight)


def _check_call(
    input: Tensor, target: Tensor, activation: str, ignore_index: int | None, weight: Tensor | None
) -> None:
    """Check the values where it costs no device sync, or under lossreg.debug_checks()."""
    if debugging() or target.device.type == "cpu":
        check_pass(input, target, activation, ignore_index, weight)


@torch.library.custom_op("lossreg::checked_target", mutates_args=())
def _checked_op(
    input: Tensor, target: Tensor, weight: Tensor | None, activation: str, ignore_index: int | None
) -> Tensor:
    if not is_capturing(target.device):
        _check_call(input, target, activation, ignore_index, weight)
    return target.clone(memory_format=torch.contiguous_format)  # an operator returns none of its inputs


@_checked_op.register_fake
def _(input: Tensor, target: Tensor, *others: object) -> Tensor:
    return torch.empty_like(target, memory_format=torch.contiguous_format)
