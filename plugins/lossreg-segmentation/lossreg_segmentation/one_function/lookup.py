"""The plan of a loss for tensors like these: made on the first call, and found again on the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lossreg import Loss
from lossreg.authoring import is_installed
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.one_function.tables import Table
from lossreg_segmentation.statistics.checks import check_tensors
from lossreg_segmentation.statistics.choice import chosen, selected
from lossreg_segmentation.statistics.plain import eager_obstacle, is_capturing
from lossreg_segmentation.statistics.weights import check_weight, with_channel

if TYPE_CHECKING:
    from lossreg_segmentation.one_function.plan import Kind, MaskPlan


def call_of(loss: Loss, inputs: Sequence[Any], options: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Return the inputs of a call in the order of these names, then its weight, if any; () if it has others."""
    options = {name: value for name, value in options.items() if value is not None}
    given = {**dict(zip(names, inputs, strict=False)), **options}
    if "weight" in options and "weight" in loss.option_names():
        names = (*names, "weight")
    if len(given) != len(inputs) + len(options) or given.keys() != set(names):
        return ()
    return tuple(given[name] for name in names)


def plan_of(one: MaskPass, tables: Sequence[Table], loss: Loss) -> MaskPlan | None:
    """Return the plan of a loss of one pass; None if no fast implementation computes it."""
    input, target = one.input, one.target
    if one.activation == "sigmoid" and target.ndim < input.ndim:
        target = target.unsqueeze(1)
    check_tensors(input, target, one.activation)
    if one.weight is not None:
        check_weight(one.weight, input, one.activation)
    factors = [tensor for table in tables for tensor in table.tensors()] + _tensors(loss)
    if any(factor.requires_grad or factor.is_inference() for factor in factors):
        return None  # it learns, or torch does not count its changes
    if any(table.learns() for table in tables):
        return None
    if not is_installed("numpy"):
        return None
    from lossreg_segmentation.one_function.plan import Kind  # imports NumPy

    name = chosen(input, target, one.activation, one.weight)
    weights = None if one.weight is None else with_channel(one.weight, input).shape
    kind = Kind(input.shape, input.dtype, target.shape, target.dtype, name, input.device, weights)
    plan = _plan_for(kind, tables)
    buffers = [*loss.named_buffers(recurse=False), *(("", factor) for factor in factors)]
    seen = [(key, tensor, _version(tensor)) for key, tensor in buffers]
    return None if plan is None else plan(one.request(), kind, tables, seen)


def _plan_for(kind: Kind, tables: Sequence[Table]) -> type[MaskPlan] | None:
    """Return the class of the plan; None where only the general way computes the tables."""
    if kind.implementation == "triton":
        from lossreg_segmentation.one_function.device import DevicePlan  # only where Triton is installed

        return DevicePlan if DevicePlan.suits(tables, kind) else None
    from lossreg_segmentation.one_function.plan import MaskPlan

    return None if kind.implementation == "reference" else MaskPlan


_UNKNOWN: Any = object()


def found_plan(loss: Loss, make: Callable[..., MaskPlan | None], tensors: Sequence[Any]) -> MaskPlan | None:
    """Return the plan of a loss for tensors like these, made on the first call; None for the general way."""
    if eager_obstacle(*tensors) or (tensors[1].requires_grad and torch.is_grad_enabled()):
        return None  # a target that requires a gradient is refused on the general way
    key: tuple[Any, ...] = (selected.name, loss.training)
    for x in tensors:
        key += (x.shape, x.dtype, x.device)
    plans: dict[Any, Any] = loss._plans
    plan = plans.get(key, _UNKNOWN)
    if plan is _UNKNOWN or (plan is not None and plan.buffers and _changed(loss, plan.buffers)):
        if is_capturing(tensors[0].device):
            return None  # the next call outside of the capture makes the plan
        plan = plans[key] = make(*tensors)
    found: MaskPlan | None = plan
    return found


def _changed(loss: Loss, buffers: Sequence[tuple[str, Tensor, int]]) -> bool:
    """Return True if a buffer is another, or a tensor has been changed in place."""
    return any(
        (name and loss._buffers.get(name) is not tensor) or tensor.requires_grad or _version(tensor) != seen
        for name, tensor, seen in buffers
    )


def _tensors(loss: Loss) -> list[Tensor]:
    """Return the numbers of a loss that are no buffers; factors may be computed from them."""
    return [value for value in (*vars(loss).values(), *loss._parameters.values()) if isinstance(value, Tensor)]


def _version(buffer: Tensor) -> int:
    """Return the number of changes in place, which torch does not count in inference mode."""
    return -1 if buffer.is_inference() else buffer._version
