"""A value as one node of torch's graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from lossreg_segmentation.statistics.plain import is_batched, modes, transforms_are_active


class OneFunction(Function):
    """Attach to a value its gradient, which its step computes."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        target: Tensor,
        predicted: Tensor | None,
        pair: tuple[Tensor, Any],
        weight: Tensor | None,
    ) -> Tensor:
        """Return the value."""
        ctx.save_for_backward(input, target, predicted, weight)
        value, ctx.step = pair
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients to the logits and to the predicted numbers."""
        (input, target, predicted, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad
        # By create_graph=True, by is_grads_batched=True, and under transforms and modes.
        if torch.is_grad_enabled() or is_batched(grad) or transforms_are_active() or modes():
            return in_steps(ctx.step, (input, target, predicted, weight), grad, wanted)
        step, mean = ctx.step, ctx.step.reduction == "mean"
        factor = grad.item() if mean else grad.numpy(force=True).astype(float).reshape(-1)
        to_logits, errors = step.plan.steps.backward(input, target, step.state, factor, mean, wanted[0], weight)
        to_predicted = None
        if predicted is not None and errors is not None and wanted[2]:
            to_predicted = torch.from_numpy(errors).to(predicted.dtype)
        return to_logits, None, to_predicted, None, None


# Function.apply itself only looks for the transforms of torch.func, under which no plan is used. That took as long as a
# kernel takes for a small mask.
attached: Any = super(Function, OneFunction).apply


def in_steps(
    step: Any, tensors: Sequence[Tensor | None], grad: Tensor, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Compute the gradients again, in steps that can be differentiated."""
    *inputs, weight = tensors
    given = [x for x in inputs if x is not None]
    leaves = [x for x, needed in zip(inputs, wanted, strict=False) if needed and x is not None]
    options = step.options if weight is None else {**step.options, "weight": weight}
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        value = step.by_terms(step.reduction, given, options)
    found = iter(torch.autograd.grad(value, leaves, grad, create_graph=again, allow_unused=True))
    return next(found) if wanted[0] else None, None, next(found) if wanted[2] else None, None, None


def savable(
    input: Tensor, target: Tensor, predicted: Tensor | None, weight: Tensor | None, to_logits: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return tensors that torch can save: no others get a gradient, and none is of inference mode."""
    if not to_logits:
        input = input.detach()
    if predicted is not None and not predicted.requires_grad:
        predicted = predicted.detach().clone()  # it may be changed in place before backward
    weight = None if weight is None else _outside_inference(weight.detach())
    return _outside_inference(input), _outside_inference(target), predicted, weight


def _outside_inference(x: Tensor) -> Tensor:
    return x.clone() if x.is_inference() else x
