"""A loss over sums on a GPU: kernels for the sums, for the steps of `finish` and for the gradient; nothing waits.

The sum over examples is the fourth launch of a step. Tables of a batch as one image, and very many classes, take the
general way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from lossreg import LossOutput
from lossreg.authoring import Reduction, debugging
from lossreg_segmentation.one_function.device_tables import DeviceTables
from lossreg_segmentation.one_function.finish import Finish
from lossreg_segmentation.one_function.function import OneFunction, in_steps, savable
from lossreg_segmentation.one_function.plan import ByTerms, Kind, MaskPlan, Step, given_of, others_of
from lossreg_segmentation.one_function.tables import Table
from lossreg_segmentation.one_function.triton_finish import add_parts, finish
from lossreg_segmentation.statistics import triton_driver
from lossreg_segmentation.statistics.op import fitting
from lossreg_segmentation.statistics.plain import is_capturing, is_plain_gradient
from lossreg_segmentation.statistics.triton_launch import power_of_two, start

# One program of `finish` has all sums and classes of an example in registers.
MOST_CLASSES = 256
# The most partial sums of an example that one program adds up, and those that it reads at once.
MOST_PARTS = 1 << 15
AT_ONCE = 2048
# Numbers of a thread, and the most warps of a program.
PER_THREAD = 8
MOST_WARPS = 16
ADDED_AT_ONCE = 1024


class Finished(NamedTuple):
    """What `finish` writes for a batch: totals (B,), values (T, B), slopes (K, B C) and those of predicted numbers."""

    totals: Tensor
    values: Tensor
    slopes: Tensor
    errors: Tensor | None


class DevicePlan(MaskPlan):
    """A plan whose steps are launches."""

    there: DeviceTables

    @staticmethod
    def suits(tables: Sequence[Table], kind: Kind) -> bool:
        """Return True if `finish` can compute these tables. Weighted pixels take the general way."""
        return kind.weights is None and kind.input[1] <= MOST_CLASSES and not any(table.batch for table in tables)

    def prepare(self, finish: Finish) -> None:
        """Put the tables on the device, and choose the cut of `finish`."""
        request, kind = self.request, self.kind
        self.there = DeviceTables(self.tables, request.needs, kind.input[1], kind.device, request.activation)
        self.names = finish.names
        self.read = fitting(request, kind.targets)
        batch, classes = kind.input[:2]
        is_index = len(kind.target) < len(kind.input)
        self.x_shape = (batch, classes, -1)
        self.t_shape = (batch, -1) if is_index else (batch, kind.target[1], -1)

    def sum(self, parts: Sequence[tuple[str, float, Any]]) -> MaskPlan | None:
        """Return the plan of a sum of losses; None if one pass does not serve them all, and in a capture."""
        return None if is_capturing(self.kind.device) else super().sum(parts)

    def evaluate(
        self, inputs: Sequence[Any], options: Mapping[str, Any], reduction: Reduction, by_terms: ByTerms
    ) -> LossOutput | None:
        """Return the loss, its terms and its values per example."""
        value, found = self.value(inputs, options, "mean" if reduction == "none" else reduction, by_terms)
        means, rows = found.values.mean(1).unbind(), found.values.unbind()
        places = [(name, self.there.names.index(name)) for name in self.names]
        components = {name: means[place] for name, place in places}
        return LossOutput(value, components, found.totals, {name: rows[place] for name, place in places})

    def value(
        self, inputs: Sequence[Any], options: Mapping[str, Any], reduction: Reduction, by_terms: ByTerms
    ) -> tuple[Tensor, Finished]:
        """Return the loss, in torch's graph, and all from which it comes."""
        input, target, predicted, _ = given_of(inputs, options)
        if debugging():
            self.check(input, target, None)
        found = self.finished(input.detach(), target, predicted, mean=reduction == "mean")
        value = found.totals
        if reduction != "none":
            value = value.mean() if reduction == "mean" else value.sum()
        to_logits = self.differentiable and input.requires_grad
        to_predicted = self.trains_predicted and predicted is not None and predicted.requires_grad
        if torch.is_grad_enabled() and (to_logits or to_predicted):
            if not to_logits or predicted is not None or target.is_inference():
                input, target, predicted, _ = savable(input, target, predicted, None, to_logits)
            step = Step(self, None, (found.slopes, found.errors), reduction, by_terms, options and others_of(options))
            value = attached(input, target, predicted, (value, step), None)
        return value, found

    def finished(self, input: Tensor, target: Tensor, predicted: Tensor | None, *, mean: bool) -> Finished:
        """Launch the sums and `finish`, whose slopes are those of the mean over examples or of their sum."""
        x, t, there = input.reshape(self.x_shape), target.reshape(self.t_shape), self.there
        parts = triton_driver.sums_parts(x, t, self.read)
        there.wait()
        (count, rows, length), (batch, classes) = parts.shape, x.shape[:2]
        sums, width = power_of_two(count), power_of_two(classes)
        if sums * width * length > MOST_PARTS and length > 1:
            added = parts.new_empty((count, rows, 1), dtype=torch.float64)
            start(add_parts, (count * rows,), 4, (parts, added, length), {"BLOCK": ADDED_AT_ONCE})
            parts, length = added, 1
        errors = None
        if predicted is not None and there.kinds["ERRORS"]:
            predicted = predicted.detach().contiguous()
            errors = x.new_empty((batch, classes), dtype=self.dtype)
        found = Finished(
            x.new_empty(batch, dtype=self.dtype),
            x.new_empty((len(there.names), batch), dtype=self.dtype),
            x.new_empty((count, rows), dtype=self.dtype),
            errors,
        )
        block = max(1, min(power_of_two(length), AT_ONCE // (sums * width)))
        warps = max(1, min(MOST_WARPS, sums * width * block // (32 * PER_THREAD)))
        tensors = (parts, there.matrix, there.weights, there.numbers, predicted if errors is not None else None, *found)
        numbers = (count, classes, length, batch if mean else 1, there.by_class, there.weighted, *there.places)
        constants = there.kinds | {"KP": sums, "CP": width, "BLOCK": block}
        start(finish, (batch,), warps, (*tensors, *numbers), constants)
        return found

    def gradient(self, input: Tensor, target: Tensor, slopes: Tensor, grad: Tensor) -> Tensor:
        """Launch the gradient to the logits, from that to the value, 0-dim or of each example."""
        scale: Tensor | None = grad
        if grad.ndim:
            batch, classes = self.kind.input[:2]
            slopes, scale = (slopes.view(-1, batch, classes) * grad[:, None]).flatten(1), None
        x, t = input.detach().reshape(self.x_shape), target.reshape(self.t_shape)
        return triton_driver.gradient(x, t, slopes, scale, self.read).view(self.kind.input)


class OnDevice(OneFunction):
    """Attach to a value its gradient, which launches compute."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Launch the gradients to the logits and to the predicted numbers."""
        (input, target, predicted, _), wanted, step = ctx.saved_tensors, ctx.needs_input_grad, ctx.step
        if torch.is_grad_enabled() or not is_plain_gradient(grad):  # by create_graph=True, is_grads_batched=True
            return in_steps(step, ctx.saved_tensors, grad, wanted)
        slopes, errors = step.state
        to_logits = step.plan.gradient(input, target, slopes, grad) if wanted[0] else None
        to_predicted = None
        if errors is not None and wanted[2]:
            to_predicted = torch.empty(errors.shape, dtype=predicted.dtype, device=errors.device)
            torch.mul(errors, grad[:, None] if grad.ndim else grad, out=to_predicted)
        return to_logits, None, to_predicted, None, None


attached: Any = super(Function, OnDevice).apply
