"""The pass as one function of autograd: it sees two calls, forward and backward. Compilers see those of graph.py."""

from __future__ import annotations

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
from lossreg_segmentation.statistics.request import Request, sums_dtype

_MODULES = {"triton": "triton_driver", "numba": "numba_driver", "tiled": "tiled"}


def mask_sums(
    input: Tensor, target: Tensor, request: Request, implementation: str, weight: Tensor | None = None
) -> Tensor:
    """Compute the sums, (K, B, C) in the order of `request.needs`. Only these tensors are saved for the gradient."""
    sums: Tensor
    if torch.compiler.is_compiling():
        if weight is None:
            sums = torch.ops.lossreg.mask_sums(input, target, *request, implementation)
        else:
            sums = torch.ops.lossreg.mask_sums_weighted(input, target, weight, *request, implementation)
        return sums
    if not (input.requires_grad and torch.is_grad_enabled()):
        return forward(input, target, request, implementation, weight)
    # Torch saves no tensor of inference mode.
    target = target.clone() if target.is_inference() else target
    weight = weight.clone() if weight is not None and weight.is_inference() else weight
    # Without the dispatcher: its overhead for an operator written in Python is longer than a small mask takes.
    sums = _Sums.apply(input, target, request, implementation, weight)  # type: ignore[no-untyped-call]
    return sums


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: Tensor, target: Tensor, request: Request, implementation: str, weight: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(input, target, weight)
        ctx.request, ctx.implementation = request, implementation
        return forward(input, target, request, implementation, weight)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        input, target, weight = ctx.saved_tensors
        if not is_plain_gradient(grads):
            return _backward_in_steps(grads, input, target, ctx.request, weight), None, None, None, None
        compute: Any = _Gradient.apply if torch.is_grad_enabled() else backward  # enabled by create_graph=True
        return compute(grads, input, target, ctx.request, ctx.implementation, weight), None, None, None, None


def _backward_in_steps(grads: Tensor, input: Tensor, target: Tensor, request: Request, weight: Tensor | None) -> Tensor:
    """Compute the gradient in torch's own operators, from gradients that are batched, fake or being traced."""
    leaf = input.detach().requires_grad_()
    with torch.enable_grad(), outside_autocast(input):
        found = reference(leaf, target, request.activation, frozenset(request.needs), *request[2:], weight)
        sums = torch.stack([found[name] for name in request.needs])
    (gradient,) = torch.autograd.grad(sums, leaf, grads)
    return gradient


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        keep_name(ctx, inputs[:-1])
        return backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> NoReturn:
        no_second_gradient(ctx, grad)


def keep_name(ctx: Any, inputs: tuple[Any, ...], output: object = None) -> None:
    """Keep the implementation's name, the last input, for `no_second_gradient`."""
    ctx.implementation = inputs[-1]


def no_second_gradient(ctx: Any, grad: Tensor) -> NoReturn:
    """Raise ImplementationError: the gradient has no gradient of its own."""
    raise ImplementationError(
        f"implementation {ctx.implementation!r} has no second derivative;"
        ' compute the loss inside lossreg_segmentation.statistics.implementation("reference")',
        implementation=ctx.implementation,
    )


def forward(
    input: Tensor, target: Tensor, request: Request, implementation: str, weight: Tensor | None = None
) -> Tensor:
    """Compute the sums by an implementation, without a gradient."""
    x, t, w = _flat(input, target, weight, implementation)
    with outside_autocast(input):
        sums: Tensor = _module(implementation).forward(x, t, fitting(request, target.dtype), w)
    return sums


def backward(
    grads: Tensor, input: Tensor, target: Tensor, request: Request, implementation: str, weight: Tensor | None = None
) -> Tensor:
    """Compute the gradient to the input from that to the sums."""
    x, t, w = _flat(input, target, weight, implementation)
    with outside_autocast(input):
        gradient: Tensor = _module(implementation).backward(x, t, grads.contiguous(), fitting(request, target.dtype), w)
    return gradient.view(input.shape)


def _flat(
    input: Tensor, target: Tensor, weight: Tensor | None, implementation: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return input (B, C, L), target (B, C or 1, L) or (B, L), and weight (B, C or 1, L).

    They are contiguous, or for Triton in their own layout.
    """
    batch, classes, *size = input.shape
    length = 1
    for extent in size:
        length *= extent
    is_index = target.ndim < input.ndim
    shape = (batch, length) if is_index else (batch, target.shape[1], length)
    w = None if weight is None else weight.detach().reshape(batch, weight.shape[1], length)
    if implementation == "triton":  # reads channels_last by its strides
        return input.detach().reshape(batch, classes, length), target.detach().reshape(shape), w
    w = None if w is None else w.contiguous()
    return input.detach().contiguous().view(batch, classes, length), target.detach().contiguous().view(shape), w


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
    weights: torch.Size | None = None,
) -> Any:
    """Return the two passes over tensors of one shape and type, from and to arrays of sums (K, B, C)."""
    request = fitting(request, target)
    if implementation == "numba":
        return _module("numba").launch_for(shape, logits, targets, target, request, weights)
    return _Passes(targets, request, implementation, weights)


class _Passes:
    """The passes of an implementation whose sums are tensors."""

    def __init__(self, targets: torch.Size, request: Request, implementation: str, weights: torch.Size | None) -> None:
        self.targets, self.request, self.implementation, self.weights = targets, request, implementation, weights

    def sums(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Any:
        """Compute the sums, (K, B, C)."""
        weight = self._read(weight, input)
        return forward(input, target.view(self.targets), self.request, self.implementation, weight).numpy()

    def gradient(self, input: Tensor, target: Tensor, slopes: Any, weight: Tensor | None = None) -> Tensor:
        """Compute the gradient to the input from that to the sums."""
        grads, weight = torch.from_numpy(slopes).to(sums_dtype(input)), self._read(weight, input)
        return backward(grads, input, target.view(self.targets), self.request, self.implementation, weight)

    def _read(self, weight: Tensor | None, input: Tensor) -> Tensor | None:
        if weight is None or self.weights is None:
            return None
        return weight.to(sums_dtype(input)).reshape(self.weights)


@cache
def _module(implementation: str) -> Any:
    return import_module(f"{__package__}.{_MODULES[implementation]}")
