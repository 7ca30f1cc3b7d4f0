"""What is checked: a loss in one case, and how it is built, called and differentiated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossreg.config import parameters
from lossreg.discovery import losses
from lossreg.entry import Entry
from lossreg.errors import LossregError
from lossreg.factory import build, config_of
from lossreg.loss import LossOutput, evaluate
from lossreg.testing.case import Case, leaf, map_tensors, predictions


class ConformanceError(AssertionError):
    """A loss does not keep what it must keep. The message says which check, in which case, and by how much."""


class NotApplicable(Exception):
    """A check has no meaning for a loss; the message says why."""


class Subject:
    """A loss and a case of it.

    Args:
        loss: a registered name, or a module. A module is copied for every use; its parameters cannot be varied.
    """

    def __init__(self, loss: str | nn.Module, case: Case) -> None:
        self.loss = loss
        self.case = case
        self.entry = entry_of(loss)
        self.contract: Mapping[str, Any] = self.entry.metadata.get("contract", {}) if self.entry else {}

    def build(self, **more: Any) -> nn.Module:
        """A fresh module, with these parameters beside those of the case."""
        if isinstance(self.loss, nn.Module):
            if more:
                raise NotApplicable(f"it varies {', '.join(more)}, and a module was given; give the name of the loss")
            return copy.deepcopy(self.loss)
        return build({"name": self.loss, "params": self.case.params | more})

    def accepts(self, *names: str) -> bool:
        """Whether the loss has these parameters, and they can be varied."""
        if self.entry is None or isinstance(self.loss, nn.Module):
            return False
        return set(names) <= set(parameters(self.entry)["properties"])

    def value(self, module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        """The loss, from the same random numbers on every call."""
        torch.manual_seed(0)
        value = module(*inputs, **self.case.options)
        if not isinstance(value, Tensor):
            raise ConformanceError(f"forward returned {type(value).__name__}, expected a tensor")
        return value

    def evaluate(self, module: nn.Module, inputs: tuple[Any, ...]) -> LossOutput:
        """Its total, components and values per example, from the same random numbers."""
        torch.manual_seed(0)
        return evaluate(module, *inputs, **self.case.options)

    def gradients(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, list[Tensor]]:
        """The loss and its gradient to each prediction."""
        value = self.value(module, inputs)
        wanted = predictions(inputs)
        if not value.requires_grad:
            raise ConformanceError("the result does not require a gradient, so nothing can be trained")
        gradients = torch.autograd.grad(value.sum(), wanted, allow_unused=True)
        if None in gradients:
            raise ConformanceError(
                f"prediction {gradients.index(None) + 1} of {len(wanted)} gets no gradient; where it is meant to have"
                " none, let the case give it without requires_grad"
            )
        return value.detach(), [gradient for gradient in gradients if gradient is not None]

    def double(self, kind: Any = "random", *, batch: int = 4) -> tuple[Any, ...]:
        """Inputs of the case in float64."""
        wide: tuple[Any, ...] = map_tensors(_double, self.case.inputs(kind, batch=batch))
        return wide

    def require_kind(self, kind: Any) -> None:
        if kind not in self.case.kinds:
            raise NotApplicable(f"the case has no {kind} targets")


def _double(x: Tensor) -> Tensor:
    if x.requires_grad:
        return leaf(x.double())
    return x.double() if x.is_floating_point() else x


def entry_of(loss: str | nn.Module) -> Entry | None:
    """The registry's entry, loaded; None for a module that no config built."""
    if isinstance(loss, str):
        losses.get(loss)
        return losses.entry(loss)
    try:
        config = config_of(loss)
    except LossregError:
        return None
    return losses.entry(f"{config['provider']}/{config['name']}")
