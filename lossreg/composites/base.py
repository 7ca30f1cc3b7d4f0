"""The base of losses made of losses: the parts' names, options and terms, and normalised weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from lossreg.composites.calls import Call, PartCalls
from lossreg.contract import contract
from lossreg.errors import InputError
from lossreg.loss import Loss, Reduction, Term, name_of, scalar
from lossreg.loss.calls import PerPixel, Signature

# A composite has the inputs and properties of its terms.
TERMS = "as the terms"
CONTRACT = contract(input=TERMS, target=TERMS, tasks=["binary", "multilabel", "multiclass"])
EXAMPLE = {"terms": [{"name": "dice"}, {"name": "bce"}]}


class Composite(Loss):
    """Base of losses made of losses, their parts.

    Args:
        parts: the losses, at least one.
        reserved: names of further components, which no part gets.
        unweighted: one per part, True for those that get no weight per pixel; by default all get it.
        options: further options of the call, which no part gets.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    """

    def __init__(
        self,
        parts: Sequence[nn.Module],
        *,
        reserved: Sequence[str] = (),
        unweighted: Sequence[bool] = (),
        options: Sequence[str] = (),
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.names = component_names(parts, reserved)
        self._calls = PartCalls(self.names, parts, unweighted or [False] * len(parts))
        own, inner = type(self)._signature, self._calls.signature
        self._own_options = own.options.union(options)
        self._signature = Signature(
            own.inputs + inner.inputs[len(own.inputs) :],
            max(own.required, inner.required),
            self._own_options | inner.options,
            inner.open_inputs,
        )

    def maps(self) -> Mapping[str, PerPixel]:
        return self._calls.maps

    def check_call(self, inputs: Sequence[Any], options: Mapping[str, Any]) -> None:
        handed_on = {key: value for key, value in options.items() if key not in self._own_options}
        self._calls.check(self, name_of(self), inputs, handed_on)

    def calls_of_parts(self, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Call]:
        """Return the inputs and options of each part: those that it has, such as a map of distances.

        Raises:
            InputError: no part has an option of this name, an input is missing, or a part cannot use a weight.
        """
        if not options and len(inputs) == self._calls.same:
            return [(inputs, {}) for _ in self.names]
        return self._calls.of_parts(self, name_of(self), inputs, options)


def component_names(parts: Sequence[nn.Module], reserved: Sequence[str] = ()) -> list[str]:
    """Return the name of each part among the components, numbered if it is a duplicate or reserved."""
    names: list[str] = []
    for part in parts:
        if isinstance(part, Loss) and part.reduction != "mean":
            raise InputError(
                f"{type(part).__name__} has reduction={part.reduction!r} inside a composite, which reduces its terms"
                " itself: leave it out there and set it on the composite"
            )
        name = unused = name_of(part)
        number = 1
        while unused in names or unused in reserved:
            number += 1
            unused = f"{name}_{number}"
        names.append(unused)
    return names


def terms_of(part: nn.Module, *inputs: Any, **options: Any) -> dict[str, Term]:
    """Return the terms of a loss; a module that is not a `Loss` has one, of the whole batch."""
    if isinstance(part, Loss):
        return part.terms(*inputs, **options)
    return {"": Term(scalar(part, part(*inputs, **options)), "batch")}


def with_prefix(name: str, terms: Mapping[str, Term]) -> dict[str, Term]:
    """Return terms under the name of their loss if it has one term, name.term if it has several."""
    if len(terms) == 1:
        return {name: next(iter(terms.values()))}
    return {f"{name}.{key}": term for key, term in terms.items()}


def with_factor(term: Term, factor: float | Tensor) -> Term:
    """Multiply a term's weight by a factor. A weight of 0 (only logged) stays exactly 0, also under a tensor."""
    if any(not isinstance(weight, Tensor) and weight == 0 for weight in (factor, term.weight)):
        return replace(term, weight=0.0)
    return replace(term, weight=factor * term.weight)


def normalized(weights: Sequence[float]) -> list[float]:
    """Divide weights by the sum of their magnitudes.

    Raises:
        InputError: all weights are 0.
    """
    total = sum(map(abs, weights))
    if total == 0:
        raise InputError("normalize_weights=True cannot divide by weights that are all 0")
    return [weight / total for weight in weights]
