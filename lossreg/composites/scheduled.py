"""A sum of losses whose weights follow the training step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, NotRequired, TypedDict, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from lossreg.composites.base import CONTRACT
from lossreg.composites.sums import LossSum
from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg.loss import Reduction, Term
from lossreg.loss.plans import Plan
from lossreg.loss.shared_passes import Pass
from lossreg.registries import losses

Step = Annotated[int, Field(ge=0)]
Points = Annotated[Sequence[tuple[Step, float]], Field(min_length=1)]
Number = TypeVar("Number", float, Tensor)


class ScheduledTerm(TypedDict):
    """A loss and its factor at some steps."""

    loss: nn.Module
    points: Points
    unweighted: NotRequired[Annotated[bool, Field(default=False)]]


@losses.register(
    "scheduled",
    aliases=("scheduled_loss",),
    tags=("composite", "mixture"),
    contract=CONTRACT,
    example={
        "terms": [{"name": "dice", "points": [[0, 1.0]]}, {"name": "boundary", "points": [[0, 0.0], [1000, 1.0]]}]
    },
)
class Scheduled(LossSum):
    r"""Sum of losses, each with a factor that follows the training step.

        loss = sum_k weight_k(step) loss_k

    Math:
        L = \sum_k w_k(\tau)\, \ell_k
        w_k(\tau) = a + (b - a)\, \frac{\tau - m}{n - m} \quad \text{for } m \le \tau \le n
        where $\ell_k$ is a term, $\tau$ the training step and $(m, a)$, $(n, b)$ two neighbouring points of the term.
        Before the first point and after the last, $w_k$ is constant.
    Args:
        terms: losses of the sum, each with points [[step, weight], ...]: the weight is linear between the points, and
            constant before the first and after the last. Steps are >= 0 and increase. Weight 0 only logs a term. One
            that is `unweighted` gets no weight per pixel.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        inputs: those of the term with the most; a term with fewer gets the first ones. step, by keyword: an int >= 0,
        or a 0-dim tensor of integers, which the host never reads; then a weight of 0 still costs the term's backward
        pass.
        terms: those of each loss, under its name if it has one term, name.term if it has several.
    Raises:
        InputError: no step, or a negative one; points that do not increase; a term with another reduction than the
            mean.
    Numerics: as the terms. A function of the step alone, so resuming needs no state. Under torch.compile an int
        becomes a tensor, so that a new step does not compile again.
    Source: Kervadec et al. 2019, sec. 2.3, whose schedule of the boundary loss is linear.
    """

    def __init__(
        self, *, terms: Annotated[Sequence[ScheduledTerm], Field(min_length=1)], reduction: Reduction = "mean"
    ) -> None:
        unweighted = [term.get("unweighted", False) for term in terms]
        super().__init__([term["loss"] for term in terms], unweighted=unweighted, reduction=reduction)
        self.points = [_increasing(name, term["points"]) for name, term in zip(self.names, terms, strict=True)]

    def passes(self, *inputs: Any, step: int | Tensor | None = None, **options: Any) -> list[Pass]:
        return super().passes(*inputs, **self._with_step(options, step))

    def terms_from(
        self, results: Iterator[Any], *inputs: Any, step: int | Tensor | None = None, **options: Any
    ) -> dict[str, Term]:
        if step is None:
            raise InputError(
                f"{type(self).__name__} needs the training step: loss(input, target, step=step); where a trainer calls"
                " the loss, give it tracked = lossreg.integrations.Tracked(loss), and set tracked.context.step = step"
                " before each step"
            )
        return self.weighted(self.weights_at(step), results, inputs, self._with_step(options, step))

    def plan(self, *inputs: Any, step: int | Tensor | None = None, **options: Any) -> Plan | None:
        if not isinstance(step, int):
            return None
        return self.plan_of_sum(self.weights_at(step), inputs, self._with_step(options, step))

    def _with_step(self, options: dict[str, Any], step: int | Tensor | None) -> dict[str, Any]:
        """Return the options with the step if any part takes one, such as a schedule inside this one."""
        return options | {"step": step} if "step" in self._calls.signature.options else options

    def weights_at(self, step: int | Tensor) -> list[float | Tensor]:
        """Return the weight of each term: floats for an int, 0-dim tensors for a tensor."""
        step = _checked(step)
        return [weight_at(points, step) for points in self.points]


def weight_at(points: Sequence[tuple[int, float]], step: int | Tensor) -> float | Tensor:
    """Interpolate the weight at a step linearly between points; at a point it is exactly the point's weight.

    Args:
        points: (step, weight) in increasing order of steps, at least one.
        step: an int gives a float; a 0-dim tensor of integers gives one of float32, on its device and without a sync.
    """
    if isinstance(step, Tensor):
        return _tensor_at(points, step.long())
    for (start, before), (end, after) in pairwise(points):
        if step < end:
            return _between(before, after, max(step - start, 0) / (end - start))
    return float(points[-1][1])


def _tensor_at(points: Sequence[tuple[int, float]], step: Tensor) -> Tensor:
    weight = torch.full((), points[0][1], dtype=torch.float32, device=step.device)
    for (start, before), (end, after) in pairwise(points):
        share = ((step - start) / (end - start)).clamp(0, 1).float()
        weight = torch.where(step > start, _between(before, after, share), weight)
    return weight


def _between(before: float, after: float, share: Number) -> Number:
    """Interpolate between two weights. This form is exact at shares 0 and 1."""
    return before * (1 - share) + after * share


def _increasing(name: str, points: Sequence[Sequence[Any]]) -> list[tuple[int, float]]:
    steps = [step for step, _ in points]
    if not steps or steps[0] < 0 or any(later <= step for step, later in pairwise(steps)):
        raise InputError(f"the steps of {name!r} must start at 0 or later and increase, got {steps}")
    return [(int(step), float(weight)) for step, weight in points]


def _checked(step: Any) -> int | Tensor:
    if isinstance(step, Tensor):
        if step.ndim != 0:
            raise ShapeError(f"step must be one number, got a tensor of shape {tuple(step.shape)}")
        if step.is_floating_point() or step.is_complex() or step.dtype == torch.bool:
            raise DTypeError(f"step must be a tensor of integers, got {step.dtype}; count steps with step.long()")
        return step
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise InputError(f"step must be an int >= 0 or a 0-dim tensor of integers, got {step!r:.200}")
    return torch.full((), step, dtype=torch.int64) if torch.compiler.is_compiling() else step
