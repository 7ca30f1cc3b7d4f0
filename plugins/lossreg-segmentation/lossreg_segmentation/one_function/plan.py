"""A loss over sums for tensors of one shape and type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossreg import LossOutput
from lossreg.authoring import Reduction, debugging
from lossreg_segmentation.one_function.finish import Finish
from lossreg_segmentation.one_function.function import attached, savable
from lossreg_segmentation.one_function.groups import Array
from lossreg_segmentation.one_function.steps import Steps
from lossreg_segmentation.one_function.tables import GIVEN, INPUTS, Table
from lossreg_segmentation.statistics.op import launch_of
from lossreg_segmentation.statistics.request import Request
from lossreg_segmentation.statistics.value_checks import check_pass
from lossreg_segmentation.statistics.weights import with_channel

ByTerms = Callable[[Reduction, Sequence[Any], Mapping[str, Any]], Tensor]


class Kind(NamedTuple):
    """Shapes and types of logits, target and weights, with channels, the implementation and the device."""

    input: torch.Size
    dtype: torch.dtype
    target: torch.Size
    targets: torch.dtype
    implementation: str
    device: torch.device
    weights: torch.Size | None = None


@dataclass(slots=True)
class Step:
    """A forward pass of a plan, with all that its gradient needs except the tensors."""

    plan: MaskPlan
    totals: Any  # the value of each example, (B,), or of the batch, (1,), in NumPy; None on a GPU
    state: Any
    reduction: Reduction
    by_terms: ByTerms
    options: Mapping[str, Any]  # without tensors: torch keeps those, and may move them elsewhere until backward


class MaskPlan:
    """A loss over the sums of one pass.

    Args:
        request: the sums.
        kind: shapes and types of logits and target, and the implementation.
        tables: the terms.
        buffers: tensors of the loss that the tables contain, with their versions.
    """

    def __init__(
        self, request: Request, kind: Kind, tables: Sequence[Table], buffers: Sequence[tuple[str, Tensor, int]] = ()
    ) -> None:
        self.request, self.kind, self.tables, self.buffers = request, kind, tables, buffers
        finish = Finish(tables, request.needs, kind.input[1], request.activation == "softmax")
        self.names = finish.names
        self.splits, self.of_batch = finish.splits, finish.of_batch
        self.differentiable, self.trains_predicted = finish.differentiable, finish.trains_predicted
        self.dtype = torch.float64 if kind.dtype == torch.float64 else torch.float32
        self.real = np.float64 if kind.dtype == torch.float64 else np.float32
        self.prepare(finish)

    def prepare(self, finish: Finish) -> None:
        """Choose the passes and the steps."""
        request, kind = self.request, self.kind
        sizes = kind.input, kind.dtype, kind.target, kind.targets
        launch = launch_of(kind.implementation, *sizes, request, kind.weights)
        shape = (len(request.needs), *kind.input[:2])
        self.steps = _steps(launch, finish, shape, request, kind.implementation)

    def evaluate(
        self, inputs: Sequence[Any], options: Mapping[str, Any], reduction: Reduction, by_terms: ByTerms
    ) -> LossOutput | None:
        """Return the loss, its terms and its values per example."""
        found = self.value(inputs, options, "mean" if reduction == "none" else reduction, by_terms)
        if found is None:
            return None
        value, step = found
        if self.of_batch:
            return self._with_batch(value, step)
        names, numbers = self.steps.table(step.state)
        # As views of NumPy: torch's own views take three times as long.
        rows = numbers.astype(self.real)
        by_name = dict(zip(names, rows[:-1], strict=True))
        means = dict(zip(names, rows[:-1, -1].copy(), strict=True))  # kept alone, they hold no values of examples
        components = {name: torch.from_numpy(np.array(means[name])) for name in self.names}
        split = {name: torch.from_numpy(by_name[name][:-1]) for name in self.names}
        return LossOutput(value, components, torch.from_numpy(rows[-1, :-1]), split)

    def _with_batch(self, value: Tensor, step: Step) -> LossOutput:
        """Return the output where some terms are of the whole batch."""
        found = dict(zip(*self.steps.terms(step.state), strict=True))
        components = {name: self._tensor(each.mean()) for name, each in found.items()}
        split = {name: self._tensor(each) for name, each in found.items() if name not in self.of_batch}
        return LossOutput(value, components, self._tensor(step.totals) if self.splits else None, split)

    def sum(self, parts: Sequence[tuple[str, float, Any]]) -> MaskPlan | None:
        """Return the plan of a sum of losses; None if one pass does not serve them all."""
        request, tables = self.request, []
        for name, weight, plan in parts:
            if not isinstance(plan, MaskPlan) or plan.kind != self.kind:
                return None
            merged = request.merged(plan.request)
            if merged is None:
                return None
            request = merged
            alone = sum(len(table.formulas) for table in plan.tables) == 1
            tables += [table.within(name, weight, alone=alone) for table in plan.tables]
        return type(self)(request, self.kind, tables)

    def value(
        self, inputs: Sequence[Any], options: Mapping[str, Any], reduction: Reduction, by_terms: ByTerms
    ) -> tuple[Tensor, Any] | None:
        """Return the loss, in torch's graph, and the step; None if the loss is not finite."""
        input, target, predicted, weight = given_of(inputs, options)
        if weight is not None and weight.requires_grad and torch.is_grad_enabled():
            return None  # the terms refuse it
        if debugging():
            self.check(input, target, weight)
        found = self.steps.forward(input, target, None if predicted is None else _numbers(predicted), weight)
        if found is None:
            return None
        totals, number, state = found
        if reduction == "sum":
            number *= totals.size
        # The step must not refer to the value: a cycle is freed late.
        value = torch.tensor(totals if reduction == "none" else number, dtype=self.dtype, device="cpu")
        step = Step(self, totals, state, reduction, by_terms, options and others_of(options))
        to_logits = self.differentiable and input.requires_grad
        to_predicted = self.trains_predicted and predicted is not None and predicted.requires_grad
        if torch.is_grad_enabled() and (to_logits or to_predicted):
            if not to_logits or predicted is not None or weight is not None or target.is_inference():
                input, target, predicted, weight = savable(input, target, predicted, weight, to_logits)
            value = attached(input, target, predicted, (value, step), weight)
        return value, step

    def check(self, input: Tensor, target: Tensor, weight: Tensor | None) -> None:
        """Check the values, for debugging."""
        target, request = target.reshape(self.kind.target), self.request
        if weight is not None:
            weight = with_channel(weight, input)
        check_pass(input, target, request.activation, request.ignore_index, weight)

    def _tensor(self, numbers: Any) -> Tensor:
        return torch.tensor(numbers, dtype=self.dtype, device="cpu")


def given_of(inputs: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Any]:
    """Return logits, target, predicted numbers and weight, given by place or by name; None for one that is not."""
    if not options:
        return (*inputs, None, None, None)[:4]
    given = {**dict(zip(INPUTS, inputs, strict=False)), **options}
    return [given.get(name) for name in GIVEN]


def others_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are no tensors of the call."""
    return {name: value for name, value in options.items() if name not in GIVEN}


def _steps(launch: Any, finish: Finish, shape: tuple[int, ...], request: Request, implementation: str) -> Steps:
    """Return the compiled steps where they can compute the tables, and otherwise those in NumPy."""
    if implementation == "numba" and request.activation == "sigmoid":
        from lossreg_segmentation.one_function.compiled import CompiledSteps  # only where Numba is installed

        if CompiledSteps.suits(finish):
            return CompiledSteps(launch, finish, shape, request.needs)
    return Steps(launch, finish, shape)


def _numbers(predicted: Tensor) -> Array:
    numbers: Array = predicted.detach().double().numpy()
    return numbers
