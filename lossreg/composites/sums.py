"""Losses made of losses: a weighted sum and a product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, NotRequired, TypedDict

import torch
from pydantic import Field
from torch import Tensor, nn

from lossreg.contract import contract
from lossreg.errors import InputError
from lossreg.loss import Loss, Reduction, Term, optional_parameters, scalar
from lossreg.loss.shared_passes import Pass
from lossreg.registries import losses

# A composite takes and gives what its terms do.
TERMS = "as the terms"
CONTRACT = contract(input=TERMS, target=TERMS, tasks=["binary", "multilabel", "multiclass"])
EXAMPLE = {"terms": [{"name": "dice"}, {"name": "bce"}]}


class WeightedTerm(TypedDict):
    """A loss and its factor in a sum."""

    loss: nn.Module
    weight: NotRequired[Annotated[float, Field(default=1.0)]]


class LossSum(Loss):
    """Base of sums of losses, which get the same inputs and share the passes over them.

    A subclass writes `terms_from`: `weighted` terms, with a factor for each part.
    """

    def __init__(self, parts: Sequence[nn.Module], *, taken: Sequence[str] = (), reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.names = names_of(parts, taken)
        self.parts = nn.ModuleList(parts)
        self._options = [options_of(part) for part in parts]

    def option_names(self) -> frozenset[str]:
        return super().option_names().union(*self._options)

    def passes(self, *inputs: Any, **options: Any) -> list[Pass]:
        chosen = zip(self.parts, shared_out(options, self._options), strict=True)
        return [
            each
            for part, taken in chosen
            if isinstance(part, Loss) and shares_passes(part)
            for each in part.passes(*inputs, **taken)
        ]

    def weighted(
        self,
        weights: Iterable[float | Tensor],
        results: Iterator[Any],
        inputs: Sequence[Any],
        options: Mapping[str, Any],
    ) -> dict[str, Term]:
        """The terms of all parts by name, each under the factor of its part."""
        found: dict[str, Term] = {}
        for name, part, weight, taken in zip(
            self.names, self.parts, weights, shared_out(options, self._options), strict=True
        ):
            if isinstance(part, Loss) and shares_passes(part):
                terms = part.terms_from(results, *inputs, **taken)
            else:
                terms = terms_of(part, *inputs, **taken)
            found |= {key: scaled(term, weight) for key, term in named(name, terms).items()}
        return found


@losses.register(
    "weighted_sum", aliases=("weighted_sum_loss",), tags=("composite", "mixture"), contract=CONTRACT, example=EXAMPLE
)
class WeightedSum(LossSum):
    """Sum of losses, each with a factor.

        loss = sum_k weight_k loss_k

    Args:
        terms: losses of the sum, each with its weight (1 by default). A term of weight 0 is only logged.
        normalize_weights: divide the weights by the sum of their magnitudes; off, so that 20:1:1 means just that.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        inputs as every term takes them; all terms get the same. An option by name, such as a map of distances, goes to
        the terms that have one.
        terms: those of each loss, under its name where it has one, name.term where it has several.
    Raises:
        InputError: a term reduces by itself in another way than the mean, which the sum would overrule.
    Numerics: as the terms. Terms that are functions of the same sums over the pixels share one pass over them.
    Source: a linear scalarisation; the weights are not normalised unless asked.
    """

    def __init__(
        self,
        *,
        terms: Annotated[Sequence[WeightedTerm], Field(min_length=1)],
        normalize_weights: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__([term["loss"] for term in terms], reduction=reduction)
        weights = [float(term.get("weight", 1.0)) for term in terms]
        if normalize_weights:
            total = sum(map(abs, weights))
            if total == 0:
                raise InputError("normalize_weights=True cannot divide by weights that are all 0")
            weights = [weight / total for weight in weights]
        self.weights = weights

    def terms_from(self, results: Iterator[Any], *inputs: Any, **options: Any) -> dict[str, Term]:
        return self.weighted(self.weights, results, inputs, options)


@losses.register(
    "product",
    aliases=("product_loss",),
    tags=("composite", "mixture"),
    contract={**CONTRACT, "per_example": False},
    example=EXAMPLE,
)
class Product(Loss):
    """Product of losses.

        loss = prod_k loss_k

    Args:
        terms: losses of the product. It does not split over examples, so it has no reduction but the mean.
    Shapes:
        inputs as every term takes them; all terms get the same.
        terms: {"product": ()}, and the factors as components.
    Raises:
        InputError: a term reduces by itself in another way than the mean.
    Numerics: as the terms; the gradient of a factor is scaled by the others.
    Source: a geometric scalarisation.
    """

    def __init__(self, *, terms: Annotated[Sequence[nn.Module], Field(min_length=1)]) -> None:
        super().__init__()
        self.names = names_of(terms, taken=("product",))
        self.parts = nn.ModuleList(terms)
        self._options = [options_of(part) for part in terms]

    def option_names(self) -> frozenset[str]:
        return super().option_names().union(*self._options)

    def terms(self, *inputs: Any, **options: Any) -> dict[str, Term]:
        chosen = zip(self.names, self.parts, shared_out(options, self._options), strict=True)
        factors = {name: scalar(part, part(*inputs, **taken)) for name, part, taken in chosen}
        product = torch.stack(list(factors.values())).prod()
        # Weight 0: shown as components, and no part of the total.
        return {"product": Term(product, "batch")} | {
            name: Term(value, "batch", weight=0.0) for name, value in factors.items()
        }


def names_of(parts: Sequence[nn.Module], taken: Sequence[str] = ()) -> list[str]:
    """What each loss is called among the components, numbered where that repeats or is taken."""
    names: list[str] = []
    for part in parts:
        if isinstance(part, Loss) and part.reduction != "mean":
            raise InputError(
                f"{type(part).__name__} has reduction={part.reduction!r} inside a composite, which reduces its terms"
                " itself: leave it out there and set it on the composite"
            )
        name = unused = _name(part)
        number = 1
        while unused in names or unused in taken:
            number += 1
            unused = f"{name}_{number}"
        names.append(unused)
    return names


def shared_out(options: Mapping[str, Any], takers: Sequence[frozenset[str]]) -> list[dict[str, Any]]:
    """For each loss the options of a call that it takes, such as a map of distances; refused if none takes one."""
    if unknown := set(options).difference(*takers):
        known = ", ".join(sorted(frozenset().union(*takers))) or "none"
        raise InputError(f"no loss in it takes {', '.join(sorted(unknown))}=; options that they take: {known}")
    return [{name: value for name, value in options.items() if name in taken} for taken in takers]


def options_of(part: nn.Module) -> frozenset[str]:
    """What a call of a loss can be given by name alone."""
    return part.option_names() if isinstance(part, Loss) else optional_parameters(type(part).forward)


def shares_passes(part: nn.Module) -> bool:
    """Whether a loss computes its terms from passes. A subclass that writes `terms` anew does not."""
    for cls in type(part).__mro__:
        if "terms_from" in vars(cls):
            return cls is not Loss
        if "terms" in vars(cls):
            return False
    return False


def _name(part: nn.Module) -> str:
    config = vars(part).get("_lossreg_config")
    name = config["name"] if isinstance(config, Mapping) else type(part).__name__
    return str(name)


def terms_of(part: nn.Module, *inputs: Any, **options: Any) -> dict[str, Term]:
    """The terms of a loss; a module that is none gives one, of the whole batch."""
    if isinstance(part, Loss):
        return part.terms(*inputs, **options)
    return {"": Term(scalar(part, part(*inputs, **options)), "batch")}


def named(name: str, terms: Mapping[str, Term]) -> dict[str, Term]:
    """Terms under the name of their loss where it has one, name.term where it has several."""
    if len(terms) == 1:
        return {name: next(iter(terms.values()))}
    return {f"{name}.{key}": term for key, term in terms.items()}


def scaled(term: Term, factor: float | Tensor) -> Term:
    """A term under one more factor; what is only logged stays so, whatever tensor comes before it."""
    if any(not isinstance(weight, Tensor) and weight == 0 for weight in (factor, term.weight)):
        return replace(term, weight=0.0)
    return replace(term, weight=factor * term.weight)
