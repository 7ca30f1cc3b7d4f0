"""A sum of losses whose weights are learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from lossreg.composites.base import EXAMPLE, TERMS
from lossreg.composites.sums import LossSum
from lossreg.contract import contract
from lossreg.loss import Reduction, Term
from lossreg.registries import losses

REGULARIZER = "regularizer"  # name of the component that no loss has


@losses.register(
    "uncertainty_weighting",
    aliases=("uncertainty_weighting_loss",),
    tags=("composite", "mixture", "learnable"),
    contract=contract(input=TERMS, target=TERMS, tasks=["binary", "multilabel", "multiclass"], has_parameters=True),
    example=EXAMPLE,
)
class UncertaintyWeighting(LossSum):
    r"""Sum of losses whose weights are learned, as variances of their tasks.

        loss = sum_k exp(-s_k) loss_k + s_k / 2

    Math:
        L = \sum_k \left( e^{-u_k}\, \ell_k + \tfrac{1}{2} u_k \right)
        where $\ell_k$ is a term and $u_k$ its log variance, a parameter that is trained from 0.
    Args:
        terms: losses of the sum. For each a log variance s_k is learned from 0, a weight of 1: give the parameters of
            this module to the optimiser, without weight decay, and under DDP keep it inside the module that is wrapped.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        inputs: those of every term, which all receive the same.
        terms: those of each loss, under its name if it has one term, name.term if it has several, and
        {"regularizer": (N,)}, the sum of s_k / 2.
    Raises:
        InputError: a term has another reduction than the mean, which the sum would override.
    Numerics: as the terms; the factors in float32 or wider. At the optimum exp(s_k) = 2 loss_k, so a loss that reaches
        0 or less has no optimum, and its weight grows without bound.
    Source: Kendall et al. 2018, eq. 10, each loss taken as a cross-entropy, s_k = log sigma_k^2.
    """

    def __init__(
        self, *, terms: Annotated[Sequence[nn.Module], Field(min_length=1)], reduction: Reduction = "mean"
    ) -> None:
        super().__init__(terms, reserved=(REGULARIZER,), reduction=reduction)
        self.log_variances = nn.Parameter(torch.zeros(len(terms), dtype=torch.float32))

    def terms_from(self, results: Iterator[Any], *inputs: Any, **options: Any) -> dict[str, Term]:
        wide = torch.promote_types(
            self.log_variances.dtype, torch.float32
        )  # model.half() converts this parameter as well
        log_variances = self.log_variances.to(wide)
        found = self.weighted((-log_variances).exp().unbind(), results, inputs, options)
        return found | {REGULARIZER: _for_each_example(log_variances.sum() / 2, found)}


def _for_each_example(value: Tensor, terms: dict[str, Term]) -> Term:
    """Return one value as a term, which splits over examples if all weighted terms do."""
    weighted = [term for term in terms.values() if isinstance(term.weight, Tensor)]
    if not weighted or any(term.per == "batch" for term in weighted):
        return Term(value, "batch")
    like = weighted[0]
    return Term(value.expand(like.values.shape[0]), "example", examples=like.examples)
