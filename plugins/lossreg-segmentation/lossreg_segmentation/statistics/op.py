"""The pass as one torch operator: autograd and compilers see two calls, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, NoReturn

import torch
from torch import Tensor

from lossreg.errors import ImplementationError
from lossreg_segmentation.statistics.autocast import outside_autocast
from lossreg_segmentation.statistics.checks import can_represent
from lossreg_segmentation.statistics.plain import is_plain_gradient
from lossreg_segmentation.statistics.reference import reference
from lossreg_segmentation.statistics.request import Activation, Request, sums_dtype

_REQUEST = "str activation, str[] needs, float gamma, int? ignore_index, float threshold, str implementation"

_MODULES = {"triton": "triton_driver", "numba": "numba_driver", "tiled": "tiled"}


def mask_sums(input: Tensor, target: Tensor, request: Request, implementation: str) -> Tensor:
    """Compute the sums, (K, B, C) in the order of `request.needs`. Only input and target are saved for the gradient."""
    if torch.compiler.is_compiling():
        sums: Tensor = torch.ops.lossreg.mask_sums(input, target, *request, implementation)
        return sums
    if not (input.requires_grad and torch.is_grad_enabled()):
        return _forward(input, target, request, implementation)
    if target.is_inference():
        target = target.clone()  # torch saves no tensor of inference mode
    # Without the dispatcher: its overhead for an operator written in Python is longer than a small mask takes.
    sums = _Sums.apply(input, target, request, implementation)  # type: ignore[no-untyped-call]
    return sums


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, request: Request, implementation: str) -> Tensor:
        ctx.save_for_backward(input, target)
        ctx.request, ctx.implementation = request, implementation
        return _forward(input, target, request, implementation)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None, None, None]:
        if not is_plain_gradient(grads):
            input, target = ctx.saved_tensors
            return _backward_in_steps(grads, input, target, ctx.request), None, None, None
        compute: Any = _Gradient.apply if torch.is_grad_enabled() else _backward  # enabled by create_graph=True
        return compute(grads, *ctx.saved_tensors, ctx.request, ctx.implementation), None, None, None


def _backward_in_steps(grads: Tensor, input: Tensor, target: Tensor, request: Request) -> Tensor:
    """Compute the gradient in torch's own operators, from gradients that are batched, fake or being traced."""
    leaf = input.detach().requires_grad_()
    with torch.enable_grad(), outside_autocast(input):
        found = reference(leaf, target, request.activation, frozenset(request.needs), *request[2:])
        sums = torch.stack([found[name] for name in request.needs])
    (gradient,) = torch.autograd.grad(sums, leaf, grads)
    return gradient


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        _keep_name(ctx, inputs)
        return _backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> NoReturn:
        _no_second_gradient(ctx, grad)


def _forward(input: Tensor, target: Tensor, request: Request, implementation: str) -> Tensor:
    with outside_autocast(input):
        sums: Tensor = _module(implementation).forward(
            *_flat(input, target, implementation), fitting(request, target.dtype)
        )
    return sums


def _backward(grads: Tensor, input: Tensor, target: Tensor, request: Request, implementation: str) -> Tensor:
    x, t = _flat(input, target, implementation)
    with outside_autocast(input):
        gradient: Tensor = _module(implementation).backward(x, t, grads.contiguous(), fitting(request, target.dtype))
    return gradient.view(input.shape)


def _flat(input: Tensor, target: Tensor, implementation: str) -> tuple[Tensor, Tensor]:
    """Return input (B, C, L) and target (B, C or 1, L) or (B, L): contiguous, or for Triton in their own layout."""
    batch, classes, *size = input.shape
    length = 1
    for extent in size:
        length *= extent
    is_index = target.ndim < input.ndim
    shape = (batch, length) if is_index else (batch, target.shape[1], length)
    if implementation == "triton":  # reads channels_last by its strides
        return input.detach().reshape(batch, classes, length), target.detach().reshape(shape)
    return input.detach().contiguous().view(batch, classes, length), target.detach().contiguous().view(shape)


def fitting(request: Request, target: torch.dtype) -> Request:
    """Drop an ignored value that the target's dtype cannot represent: a cast would turn it into another number."""
    return request if can_represent(target, request.ignore_index) else request._replace(ignore_index=None)


def launch_of(
    implementation: str,
    shape: torch.Size,
    logits: torch.dtype,
    targets: torch.Size,
    target: torch.dtype,
    request: Request,
) -> Any:
    """Return the two passes over tensors of one shape and type, from and to arrays of sums (K, B, C)."""
    request = fitting(request, target)
    if implementation == "numba":
        return _module("numba").launch_for(shape, logits, targets, target, request)
    return _Passes(targets, request, implementation)


class _Passes:
    """The passes of an implementation whose sums are tensors."""

    def __init__(self, targets: torch.Size, request: Request, implementation: str) -> None:
        self.targets, self.request, self.implementation = targets, request, implementation

    def sums(self, input: Tensor, target: Tensor) -> Any:
        """Compute the sums, (K, B, C)."""
        return _forward(input, target.view(self.targets), self.request, self.implementation).numpy()

    def gradient(self, input: Tensor, target: Tensor, slopes: Any) -> Tensor:
        """Compute the gradient to the input from that to the sums."""
        grads = torch.from_numpy(slopes).to(sums_dtype(input))
        return _backward(grads, input, target.view(self.targets), self.request, self.implementation)


@cache
def _module(implementation: str) -> Any:
    return import_module(f"{__package__}.{_MODULES[implementation]}")


# Registered again, after Ctrl-C in the first import or a reload, a custom operator replaces the one before.
@torch.library.custom_op(
    "lossreg::mask_sums", mutates_args=(), schema=f"(Tensor input, Tensor target, {_REQUEST}) -> Tensor"
)
def _forward_op(input: Tensor, target: Tensor, *call: Any) -> Tensor:
    return _forward(input, target, *_request(*call))


@torch.library.custom_op(
    "lossreg::mask_sums_backward",
    mutates_args=(),
    schema=f"(Tensor grads, Tensor input, Tensor target, {_REQUEST}) -> Tensor",
)
def _backward_op(grads: Tensor, input: Tensor, target: Tensor, *call: Any) -> Tensor:
    return _backward(grads, input, target, *_request(*call)).contiguous()  # the layout that its fake declares


def _request(activation: Activation, needs: Sequence[str], *others: Any) -> tuple[Request, str]:
    """Return the request and the implementation from an operator's flat arguments."""
    *numbers, implementation = others
    return Request(activation, tuple(needs), *numbers), implementation


@_forward_op.register_fake
def _(input: Tensor, target: Tensor, activation: str, needs: list[str], *others: object) -> Tensor:
    return input.new_empty((len(needs), input.shape[0], input.shape[1]), dtype=sums_dtype(input))


@_backward_op.register_fake
def _(grads: Tensor, input: Tensor, *others: object) -> Tensor:
    return torch.empty(input.shape, dtype=input.dtype, device=input.device)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, target, *ctx.call = inputs
    ctx.save_for_backward(input, target)


def _gradient(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
    gradient = torch.ops.lossreg.mask_sums_backward(grads, *ctx.saved_tensors, *ctx.call)
    return gradient, None, *(None for _ in ctx.call)


def _keep_name(ctx: Any, inputs: tuple[Any, ...], output: object = None) -> None:
    ctx.implementation = inputs[-1]


def _no_second_gradient(ctx: Any, grad: Tensor) -> NoReturn:
    raise ImplementationError(
        f"implementation {ctx.implementation!r} has no second derivative;"
        ' compute the loss inside lossreg_segmentation.statistics.implementation("reference")',
        implementation=ctx.implementation,
    )


_forward_op.register_autograd(_gradient, setup_context=_keep)
_backward_op.register_autograd(_no_second_gradient, setup_context=_keep_name)
