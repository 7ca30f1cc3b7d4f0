"""Calls of any loss of masks by logits and mask of one object: which losses can be, and with which further inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossreg.errors import LossregError
from lossreg.loss import Loss, scalar
from lossreg.messages import with_type
from lossreg.registries import losses
from lossreg.registry.entry import Entry

PLOTTABLE = "logits & (binary | multilabel | multiclass)"  # tags of nearly all of these losses
INPUTS = ("logits", "as the terms", "as the loss", "one or several inputs of the loss, finest first")
MASKS = ("mask", "mask or class index", "as the terms", "as the loss")
CLASSES = ("class index", "mask or class index")

Value = Callable[[Tensor, Tensor], Tensor]  # of logits and a mask, (1, 1, H, W) each


def channels_of(entry: Entry) -> int:
    """Return the number of channels to draw: 1 for a loss of masks, 2 for a loss of class indices only.

    Raises:
        LossregError: the contract names other inputs.
    """
    contract = contract_of(entry)
    if contract is None:
        return 1
    input, target = (contract.get(key, "undeclared") for key in ("input", "target"))
    tasks = {*contract.get("tasks", ())}
    if not tasks.isdisjoint({"binary", "multilabel"}) and (
        _makes_inputs(entry) or (input in INPUTS and target in MASKS)
    ):
        return 1
    if "multiclass" in tasks and input in INPUTS and target in CLASSES:
        return 2
    raise LossregError(
        f"{entry.full_name} cannot be drawn: its input is {input!r} and its target {target!r}, not logits and"
        f" a mask or class index; losses that can be drawn: lossreg list --tag '{PLOTTABLE}'"
    )


def contract_of(entry: Entry) -> Mapping[str, Any] | None:
    """Return the contract of an entry, whose class is loaded if it alone declares one."""
    if "contract" not in entry.metadata:
        losses.get(entry.full_name)
        entry = losses.entry(entry.full_name)
    found: Mapping[str, Any] | None = entry.metadata.get("contract")
    return found


def caller(module: nn.Module, channels: int = 1, step: int = 0) -> Value:
    """Return a loss as a function of logits and a mask, (1, 1, H, W) each.

    Args:
        module: a loss that returns one value.
        channels: 1 gives it both. 2 gives it logits (1, 2, H, W), where those of the background are 0, and class
            indices (1, H, W).
        step: the training step, for a loss whose weights follow it.
    Raises:
        LossregError: from the function, where the loss raises on such tensors, or does not return one value.
    """

    def value(logits: Tensor, mask: Tensor) -> Tensor:
        input, target = logits.contiguous(), mask
        if channels == 2:
            input, target = torch.cat([torch.zeros_like(logits), logits], 1), mask[:, 0].long()
        inputs = _sure(getattr(module, "warm_up_inputs", lambda *tensors: tensors)(input, target))
        try:
            found = module(*inputs, **_options(module, mask, step))
        except Exception as cause:  # a loss may raise anything
            raise LossregError(
                f"{type(module).__name__} cannot be drawn: on logits {tuple(input.shape)} and a target"
                f" {tuple(target.shape)} it raised {with_type(cause)}"
            ) from cause
        return scalar(module, found)

    return value


def _sure(inputs: Any) -> Any:
    """Return inputs in which each single number, such as the predicted IoU of a mask, is 1."""
    if isinstance(inputs, Tensor):
        return torch.ones_like(inputs) if inputs.numel() == 1 else inputs
    if isinstance(inputs, dict):
        return {key: _sure(value) for key, value in inputs.items()}
    return type(inputs)(_sure(value) for value in inputs) if isinstance(inputs, list | tuple) else inputs


def _makes_inputs(entry: Entry) -> bool:
    return hasattr(losses.get(entry.full_name), "warm_up_inputs")


def _options(module: nn.Module, mask: Tensor, step: int) -> dict[str, Any]:
    """Return what the loss needs by name: the step, the mask as a further target, the image's halves as regions."""
    if not isinstance(module, Loss):
        return {}
    options: dict[str, Any] = {"step": step} if "step" in module.option_names() else {}
    for name, kind in module.maps().items():
        if kind == "mask":
            options[name] = mask
        elif kind == "labels":
            options[name] = (torch.arange(mask.shape[-1]) >= mask.shape[-1] // 2).long().expand(mask.shape).contiguous()
    return options
