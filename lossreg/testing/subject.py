"""Subject of a check: a loss in one case, with functions that build, call and differentiate it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lossreg.config.factory import build, config_of
from lossreg.config.resolution import parameters
from lossreg.errors import LossregError
from lossreg.loss import LossOutput, evaluate
from lossreg.registries import losses
from lossreg.registry.entry import Entry
from lossreg.testing.case import Case, Options, leaf, map_tensors, predictions, tensors


class ConformanceError(AssertionError):
    """Failure of a check. The message names the check, the case and the difference."""


class NotApplicable(Exception):
    """Reason why a check does not apply to a loss."""


class Subject:
    """Loss in one case.

    Args:
        loss: a registered name, or a module. A module that no config built is copied for every use; its parameters
            cannot be varied.
        case: its inputs and parameters.
    """

    def __init__(self, loss: str | nn.Module, case: Case) -> None:
        self.entry = entry_of(loss)
        self.loss = loss if self.entry is None else self.entry.full_name
        self.params = config_params(loss) | case.params
        self.case = case
        declared: Mapping[str, Any] = self.entry.metadata.get("contract", {}) if self.entry else {}
        self.contract: Mapping[str, Any] = {**declared, **case.contract}
        self.advice = ""  # the likely cause of a failure, on a line of its own

    def build(self, **more: Any) -> nn.Module:
        """Build a new module with more parameters than those of the case; random initial weights repeat."""
        if isinstance(self.loss, nn.Module):
            if more:
                raise NotApplicable(
                    f"no config built the module, so its {', '.join(more)} cannot be varied; pass a registered name"
                )
            return copy.deepcopy(self.loss)
        torch.manual_seed(0)
        return build({"name": self.loss, "params": self.params | more})

    def wide(self, **more: Any) -> nn.Module:
        """Build the module in float64, for inputs in float64."""
        return self.build(**more).double()

    def requires(self, name: str) -> None:
        """Raise NotApplicable unless the loss has a parameter, and it can be varied."""
        if isinstance(self.loss, nn.Module):
            raise NotApplicable(f"no config built the module, so that its {name} cannot be varied")
        if not self.accepts(name):
            raise NotApplicable(f"the loss has no parameter {name}")

    def accepts(self, name: str) -> bool:
        """Return whether the loss has a parameter, and it can be varied."""
        if self.entry is None or isinstance(self.loss, nn.Module):
            return False
        return name in parameters(self.entry)["properties"]

    def value(self, module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        """Return the loss, with the same random numbers on every call."""
        value = self._call(module, inputs)
        if not isinstance(value, Tensor):
            raise ConformanceError(f"forward returned {type(value).__name__}, expected a tensor")
        return value

    def evaluate(self, module: nn.Module, inputs: tuple[Any, ...]) -> LossOutput:
        """Return total, components and values per example, with the same random numbers on every call."""
        output: LossOutput = self._call(partial(evaluate, module), inputs)
        return output

    def _call(self, call: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
        torch.manual_seed(0)
        positional, options = split_options(inputs)
        given = tensors(inputs)
        before = [x._version for x in given]
        result = call(*positional, **options)
        if any(x._version != version for x, version in zip(given, before, strict=True)):
            raise ConformanceError("a call changed its inputs in place; copy them first")
        self._compare_dtypes(inputs, result.total if isinstance(result, LossOutput) else result)
        return result

    def _compare_dtypes(self, inputs: tuple[Any, ...], value: object) -> None:
        """Write the advice if a value is narrower than its predictions, or narrower than float32."""
        for given in {x.dtype for x in predictions(inputs)}:
            wide = torch.promote_types(given, torch.float32)
            if isinstance(value, Tensor) and torch.promote_types(value.dtype, wide) != value.dtype:
                self.advice = (
                    f"the loss of {given} predictions is {value.dtype}; compute it in {wide}, as with"
                    " input.to(torch.promote_types(input.dtype, torch.float32))\n"
                )

    def gradients(
        self, module: nn.Module, inputs: tuple[Any, ...], *, forward: AbstractContextManager[Any] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the loss and its gradient to each prediction. Trained parameters must have a gradient as well.

        The forward pass runs inside `forward`, such as autocast, and the backward pass outside it, as in training.
        """
        with forward or nullcontext():
            value = self.value(module, inputs)
        wanted = predictions(inputs)
        trained = {name: x for name, x in module.named_parameters() if x.requires_grad}
        if not value.requires_grad:
            raise ConformanceError("the result does not require a gradient, so that nothing can be trained")
        gradients = torch.autograd.grad(value.sum(), [*wanted, *trained.values()], allow_unused=True)
        gradients, of_parameters = gradients[: len(wanted)], gradients[len(wanted) :]
        if untrained := [name for name, gradient in zip(trained, of_parameters, strict=True) if gradient is None]:
            raise ConformanceError(f"parameters {', '.join(untrained)} get no gradient, so that they are never trained")
        if None in gradients:
            raise ConformanceError(
                f"prediction {gradients.index(None) + 1} of {len(wanted)} gets no gradient; if that is intended, create"
                " it without requires_grad in the case"
            )
        return value.detach(), [gradient for gradient in gradients if gradient is not None]

    def double(self, kind: Any = "random", *, batch: int = 4) -> tuple[Any, ...]:
        """Return inputs of the case in float64."""
        return double(self.case.inputs(kind, batch=batch))

    def require_kind(self, kind: Any) -> None:
        """Raise NotApplicable unless the case has this kind of targets."""
        if kind not in self.case.kinds:
            raise NotApplicable(f"the case has no {kind} targets")


def same(found: Tensor, expected: Tensor, what: str, *, rtol: float = 0.0, atol: float = 1e-12) -> None:
    """Raise ConformanceError with the difference unless the tensors are close."""
    try:
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, check_dtype=False)
    except AssertionError as error:
        raise ConformanceError(f"{what} differ: {error}") from error


def split_options(inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Split inputs into positional and keyword arguments."""
    if inputs and isinstance(inputs[-1], Options):
        return inputs[:-1], inputs[-1]
    return inputs, {}


def double(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return inputs in float64."""
    wide: tuple[Any, ...] = map_tensors(_double, inputs)
    return wide


def _double(x: Tensor) -> Tensor:
    if x.requires_grad:
        return leaf(x.double())
    return x.double() if x.is_floating_point() else x


def entry_of(loss: str | nn.Module) -> Entry | None:
    """Return the entry of a loss, loaded; None for a module that no config built."""
    name = loss if isinstance(loss, str) else _config(loss).get("name")
    if name is None:
        return None
    losses.get(name)
    return losses.entry(name)


def config_params(loss: str | nn.Module) -> dict[str, Any]:
    """Return the parameters that built a module; none for a name."""
    return {} if isinstance(loss, str) else dict(_config(loss).get("params", {}))


def _config(module: nn.Module) -> dict[str, Any]:
    try:
        config = config_of(module)
    except LossregError:
        return {}
    return config | {"name": f"{config['provider']}/{config['name']}"}
