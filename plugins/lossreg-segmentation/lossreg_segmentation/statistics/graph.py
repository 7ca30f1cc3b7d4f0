"""The pass as torch operators, which compilers put into their graphs.

Exported programs name them, so their arguments never change: a pass with weights is an operator of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lossreg.authoring import debugging
from lossreg_segmentation.statistics.op import backward, forward, keep_name, no_second_gradient
from lossreg_segmentation.statistics.plain import is_capturing
from lossreg_segmentation.statistics.request import Activation, Request, sums_dtype
from lossreg_segmentation.statistics.value_checks import check_pass

_REQUEST = "str activation, str[] needs, float gamma, int? ignore_index, float threshold, str implementation"


# Registered again, after Ctrl-C in the first import or a reload, a custom operator replaces the one before.
@torch.library.custom_op(
    "lossreg::mask_sums", mutates_args=(), schema=f"(Tensor input, Tensor target, {_REQUEST}) -> Tensor"
)
def _forward_op(input: Tensor, target: Tensor, *call: Any) -> Tensor:
    _check(input, target, None, *call)
    return forward(input, target, *_request(*call))


@torch.library.custom_op(
    "lossreg::mask_sums_backward",
    mutates_args=(),
    schema=f"(Tensor grads, Tensor input, Tensor target, {_REQUEST}) -> Tensor",
)
def _backward_op(grads: Tensor, input: Tensor, target: Tensor, *call: Any) -> Tensor:
    return backward(grads, input, target, *_request(*call)).contiguous()  # the layout that its fake declares


@torch.library.custom_op(
    "lossreg::mask_sums_weighted",
    mutates_args=(),
    schema=f"(Tensor input, Tensor target, Tensor weight, {_REQUEST}) -> Tensor",
)
def _weighted_op(input: Tensor, target: Tensor, weight: Tensor, *call: Any) -> Tensor:
    _check(input, target, weight, *call)
    return forward(input, target, *_request(*call), weight)


@torch.library.custom_op(
    "lossreg::mask_sums_weighted_backward",
    mutates_args=(),
    schema=f"(Tensor grads, Tensor input, Tensor target, Tensor weight, {_REQUEST}) -> Tensor",
)
def _weighted_backward_op(grads: Tensor, input: Tensor, target: Tensor, weight: Tensor, *call: Any) -> Tensor:
    return backward(grads, input, target, *_request(*call), weight).contiguous()


def _check(input: Tensor, target: Tensor, weight: Tensor | None, activation: Activation, *call: Any) -> None:
    """Check all values under lossreg.debug_checks(), which a graph reads in each call."""
    if debugging() and not is_capturing(target.device):
        request, _ = _request(activation, *call)
        check_pass(input, target, activation, request.ignore_index, weight)


def _request(activation: Activation, needs: Sequence[str], *others: Any) -> tuple[Request, str]:
    """Return the request and the implementation from an operator's flat arguments."""
    *numbers, implementation = others
    return Request(activation, tuple(needs), *numbers), implementation


@_forward_op.register_fake
def _(input: Tensor, target: Tensor, activation: str, needs: list[str], *others: object) -> Tensor:
    return input.new_empty((len(needs), input.shape[0], input.shape[1]), dtype=sums_dtype(input))


@_weighted_op.register_fake
def _(input: Tensor, target: Tensor, weight: Tensor, activation: str, needs: list[str], *others: object) -> Tensor:
    return input.new_empty((len(needs), input.shape[0], input.shape[1]), dtype=sums_dtype(input))


@_backward_op.register_fake
@_weighted_backward_op.register_fake
def _(grads: Tensor, input: Tensor, *others: object) -> Tensor:
    return torch.empty(input.shape, dtype=input.dtype, device=input.device)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, target, *ctx.call = inputs
    ctx.save_for_backward(input, target)


def _gradient(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
    gradient = torch.ops.lossreg.mask_sums_backward(grads, *ctx.saved_tensors, *ctx.call)
    return gradient, None, *(None for _ in ctx.call)


def _keep_weighted(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, target, weight, *ctx.call = inputs
    ctx.save_for_backward(input, target, weight)


def _weighted_gradient(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
    gradient = torch.ops.lossreg.mask_sums_weighted_backward(grads, *ctx.saved_tensors, *ctx.call)
    return gradient, None, None, *(None for _ in ctx.call)


_forward_op.register_autograd(_gradient, setup_context=_keep)
_weighted_op.register_autograd(_weighted_gradient, setup_context=_keep_weighted)
_backward_op.register_autograd(no_second_gradient, setup_context=keep_name)
_weighted_backward_op.register_autograd(no_second_gradient, setup_context=keep_name)
