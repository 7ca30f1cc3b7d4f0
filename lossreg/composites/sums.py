"""Losses made of losses: a weighted sum and a product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NotRequired, TypedDict

import torch
from pydantic import Field
from torch import Tensor, nn

from lossreg.composites.base import CONTRACT, EXAMPLE, Composite, normalized, terms_of, with_factor, with_prefix
from lossreg.loss import Loss, Reduction, Term, scalar
from lossreg.loss.plans import Plan, replaced_by_plan
from lossreg.loss.shared_passes import Pass
from lossreg.registries import losses


class WeightedTerm(TypedDict):
    """A loss and its factor in a sum."""

    loss: nn.Module
    weight: NotRequired[Annotated[float, Field(default=1.0)]]
    unweighted: NotRequired[Annotated[bool, Field(default=False)]]


class LossSum(Composite):
    """Base of sums of losses, which receive the same inputs and share the passes over them.

    A subclass writes `terms_from`: `weighted` terms, with a factor for each part.
    """

    def __init__(
        self,
        parts: Sequence[nn.Module],
        *,
        reserved: Sequence[str] = (),
        unweighted: Sequence[bool] = (),
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(parts, reserved=reserved, unweighted=unweighted, reduction=reduction)
        self.parts = nn.ModuleList(parts)

    def passes(self, *inputs: Any, **options: Any) -> list[Pass]:
        return [
            each
            for part, (given, own) in zip(self.parts, self.calls_of_parts(inputs, options), strict=True)
            if isinstance(part, Loss) and shares_passes(part)
            for each in part.passes(*given, **own)
        ]

    def plan_of_sum(
        self, weights: Sequence[float | Tensor], inputs: Sequence[Any], options: Mapping[str, Any]
    ) -> Plan | None:
        """Return the sum as one function; None if a part has no plan, or a weight is a tensor."""
        parts = []
        calls = self.calls_of_parts(inputs, options)
        for name, part, weight, (given, own) in zip(self.names, self.parts, weights, calls, strict=True):
            plan = part.plan(*given, **own) if isinstance(part, Loss) and not isinstance(weight, Tensor) else None
            if plan is None or isinstance(weight, Tensor):
                return None
            parts.append((name, weight, plan))
        key = tuple(parts)
        plans = self._plans
        plan = plans.get(key)
        if plan is None and key not in plans:
            plan = plans[key] = parts[0][2].sum(parts) if replaced_by_plan(self) else None
        return plan

    def weighted(
        self,
        weights: Iterable[float | Tensor],
        results: Iterator[Any],
        inputs: Sequence[Any],
        options: Mapping[str, Any],
    ) -> dict[str, Term]:
        """Return the terms of all parts by name, each multiplied by the weight of its part."""
        found: dict[str, Term] = {}
        chosen = zip(self.names, self.parts, weights, self.calls_of_parts(inputs, options), strict=True)
        for name, part, weight, (given, own) in chosen:
            if isinstance(part, Loss) and shares_passes(part):
                terms = part.terms_from(results, *given, **own)
            else:
                terms = terms_of(part, *given, **own)
            found |= {key: with_factor(term, weight) for key, term in with_prefix(name, terms).items()}
        return found


def shares_passes(part: nn.Module) -> bool:
    """Return whether a loss computes its terms from passes, which a subclass that overrides `terms` does not."""
    for cls in type(part).__mro__:
        if "terms_from" in vars(cls):
            return cls is not Loss
        if "terms" in vars(cls):
            return False
    return False


@losses.register(
    "weighted_sum", aliases=("weighted_sum_loss",), tags=("composite", "mixture"), contract=CONTRACT, example=EXAMPLE
)
class WeightedSum(LossSum):
    r"""Sum of losses, each with a factor.

        loss = sum_k weight_k loss_k

    Math:
        L = \sum_k w_k\, \ell_k
        where $\ell_k$ is a term and $w_k$ its weight (1). With `normalize_weights`, $w_k / \sum_j |w_j|$ stands for
        $w_k$.
    Args:
        terms: losses of the sum, each with its weight (1 by default). A term of weight 0 is only logged. One that is
            `unweighted` gets no weight per pixel, for losses where it has no meaning.
        normalize_weights: divide the weights by the sum of their magnitudes. By default 20:1:1 means 20, 1 and 1.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        inputs: those of the term with the most; a term with fewer gets the first ones. An option by name, such as a map
        of distances, goes to the terms that have it.
        terms: those of each loss, under its name if it has one term, name.term if it has several.
    Raises:
        InputError: a term has another reduction than the mean, which the sum would override. weight= in a call, and a
            term that neither takes it nor is `unweighted`.
    Numerics: as the terms. Terms that are functions of the same sums over the pixels share one pass over them.
    Source: a linear scalarisation.
    """

    def __init__(
        self,
        *,
        terms: Annotated[Sequence[WeightedTerm], Field(min_length=1)],
        normalize_weights: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        unweighted = [term.get("unweighted", False) for term in terms]
        super().__init__([term["loss"] for term in terms], unweighted=unweighted, reduction=reduction)
        weights = [float(term.get("weight", 1.0)) for term in terms]
        self.weights = normalized(weights) if normalize_weights else weights

    def terms_from(self, results: Iterator[Any], *inputs: Any, **options: Any) -> dict[str, Term]:
        return self.weighted(self.weights, results, inputs, options)

    def plan(self, *inputs: Any, **options: Any) -> Plan | None:
        return self.plan_of_sum(self.weights, inputs, options)


@losses.register(
    "product",
    aliases=("product_loss",),
    tags=("composite", "mixture"),
    contract={**CONTRACT, "per_example": False},
    example=EXAMPLE,
)
class Product(Composite):
    r"""Product of losses.

        loss = prod_k loss_k

    Math:
        L = \prod_k \ell_k
        where $\ell_k$ is a term, its mean over the batch.
    Args:
        terms: losses of the product, which does not split over examples and so has no reduction but the mean.
    Shapes:
        inputs: those of every term, which all receive the same.
        terms: {"product": ()}, and the factors as components.
    Raises:
        InputError: a term has another reduction than the mean.
    Numerics: as the terms; the gradient of a factor is scaled by the others.
    Source: a geometric scalarisation.
    """

    def __init__(self, *, terms: Annotated[Sequence[nn.Module], Field(min_length=1)]) -> None:
        super().__init__(terms, reserved=("product",))
        self.parts = nn.ModuleList(terms)

    def terms(self, *inputs: Any, **options: Any) -> dict[str, Term]:
        chosen = zip(self.names, self.parts, self.calls_of_parts(inputs, options), strict=True)
        factors = {name: scalar(part, part(*given, **own)) for name, part, (given, own) in chosen}
        product = torch.stack(list(factors.values())).prod()
        # The factors have weight 0: components that are no part of the total.
        return {"product": Term(product, "batch")} | {
            name: Term(value, "batch", weight=0.0) for name, value in factors.items()
        }
