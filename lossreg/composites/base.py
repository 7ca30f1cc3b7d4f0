"""The base of losses made of losses: the parts' names, options and terms, and normalised weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from lossreg.contract import contract
from lossreg.errors import InputError
from lossreg.loss import Loss, Reduction, Term, name_of, optional_parameters, scalar

# A composite has the inputs and properties of its terms.
TERMS = "as the terms"
CONTRACT = contract(input=TERMS, target=TERMS, tasks=["binary", "multilabel", "multiclass"])
EXAMPLE = {"terms": [{"name": "dice"}, {"name": "bce"}]}


class Composite(Loss):
    """Base of losses made of losses, their parts.

    Args:
        parts: the losses, at least one.
        reserved: names of further components, which no part gets.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    """

    def __init__(
        self, parts: Sequence[nn.Module], *, reserved: Sequence[str] = (), reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.names = component_names(parts, reserved)
        self._part_options = [_option_names(part) for part in parts]

    def option_names(self) -> frozenset[str]:
        return super().option_names().union(*self._part_options)

    def options_of_parts(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the options of a call for each part: those that it has, such as a map of distances.

        Raises:
            InputError: no part has an option of this name.
        """
        if unknown := set(options).difference(*self._part_options):
            known = ", ".join(sorted(frozenset().union(*self._part_options))) or "none"
            raise InputError(
                f"no loss inside {type(self).__name__} has the option {', '.join(sorted(unknown))}=;"
                f" their options: {known}"
            )
        return [{name: value for name, value in options.items() if name in names} for names in self._part_options]


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


def _option_names(part: nn.Module) -> frozenset[str]:
    """Return the names of the options of a part's call."""
    return part.option_names() if isinstance(part, Loss) else optional_parameters(type(part).forward)


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
