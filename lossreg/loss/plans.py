"""A loss as one function of inputs of certain shapes and types, prepared once and found again in a dict."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from torch import Tensor

from lossreg.loss.output import LossOutput, Reduction

ByTerms = Callable[[Reduction, Sequence[Any], Mapping[str, Any]], Tensor]


class Plan(Protocol):
    """What a loss computes from inputs like these, in fewer steps than by its terms.

    splits: False if some term is of the whole batch, so that the only reduction is the mean.
    """

    splits: bool

    def value(
        self, inputs: Sequence[Any], options: Mapping[str, Any], reduction: Reduction, by_terms: ByTerms
    ) -> tuple[Tensor, Any] | None:
        """Return what `Loss.forward` returns, and all from which it comes; None if these numbers need the terms.

        Args:
            by_terms: the same by the terms, for a gradient that is differentiated again.
        """

    def evaluate(
        self, inputs: Sequence[Any], options: Mapping[str, Any], reduction: Reduction, by_terms: ByTerms
    ) -> LossOutput | None:
        """Return what `Loss.evaluate` returns; None if these numbers need the terms."""

    def sum(self, parts: Sequence[tuple[str, float, Plan]]) -> Plan | None:
        """Return the plan of a sum of losses over the same inputs, given the name, weight and plan of each, this first.

        None if they do not share their passes over the inputs.
        """


class Plans(dict[Hashable, Plan | None]):
    """The plans of one loss by what they depend on; a copy or a pickle of the loss starts without any."""

    MOST = 64  # so that batches of ever new sizes do not fill the memory

    def __setitem__(self, key: Hashable, plan: Plan | None) -> None:
        if len(self) >= self.MOST:
            self.clear()
        super().__setitem__(key, plan)

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Plans], tuple[()]]:
        return Plans, ()


# Methods that a plan replaces.
STEPS = frozenset({"terms", "terms_from", "passes", "weighted", "formula", "class_term", "pixel_term"})


def replaced_by_plan(loss: Any) -> bool:
    """Return True if the steps of a loss are those that its plan replaces: nothing derived from it changes one."""
    return not STEPS & vars(loss).keys() and _defines_plan(type(loss))  # type: ignore[arg-type]


@cache
def _defines_plan(kind: type) -> bool:
    """Return True if the most derived class that changes a step has a plan of its own for it."""
    for cls in kind.__mro__:
        if "plan" in vars(cls):
            return True
        if vars(cls).keys() & STEPS:
            return False
    return False
