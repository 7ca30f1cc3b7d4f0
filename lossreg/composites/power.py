"""A power of another loss, or of its logarithm, before any mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from lossreg.composites.base import CONTRACT
from lossreg.composites.sums import LossSum
from lossreg.errors import InputError
from lossreg.loss import Reduction, Term
from lossreg.loss.debug import is_free_to_read
from lossreg.registries import losses

# Lower bound of a base and of a score, below which slopes would be infinite.
EPSILON = 1e-7
ROUNDED = 0.01  # of values in half precision, which are a little out of range


@losses.register(
    "power", aliases=("power_loss",), tags=("composite",), contract=CONTRACT, example={"loss": {"name": "dice"}}
)
class Power(LossSum):
    r"""A power of a loss, or of the negative logarithm of its score, before the mean over classes.

        loss = inner^exponent, with log: (-log(1 - inner))^exponent

    Math:
        L = \ell^\gamma \quad \text{or, with log,} \quad L = \left( -\log(1 - \ell) \right)^\gamma
        where $\ell$ is the inner loss of a mask or class and $\gamma$ `exponent` (1). A base and a score $1 - \ell$ are
        at least $10^{-7}$; a base of 0 stays 0.
    Args:
        loss: the inner loss, such as dice, whose values are >= 0, with log in [0, 1]. Others become NaN.
        exponent: > 0, dimensionless. Below 1 it raises the loss of masks that are nearly right.
        log: raise -log of the score, 1 - inner, as log losses of overlaps do.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        inputs and options: those of the inner loss.
        terms: those of the inner loss, under its name; one value of each class is raised where it has values per class.
    Raises:
        InputError: the inner loss has another reduction than the mean, which this one would override. On a CPU, values
            of the inner loss outside of the range.
    Numerics: as the inner loss; a base or a score below 1e-7 counts as 1e-7 and has no gradient; a base of 0 stays 0.
    Source: Wong et al. 2018, eq. 2, the Dice part: `log` and exponent 0.3. With exponent 1 it is the log loss of
        segmentation-models-pytorch and pytorch-toolbelt.
    """

    def __init__(
        self,
        *,
        loss: nn.Module,
        exponent: Annotated[float, Field(gt=0)] = 1.0,
        log: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__([loss], reduction=reduction)
        if not exponent > 0:
            raise InputError(f"exponent is above 0, got {exponent}; give 1 for the loss itself")
        self.exponent = exponent
        self.log = log

    def terms_from(self, results: Iterator[Any], *inputs: Any, **options: Any) -> dict[str, Term]:
        found = self.weighted([1.0], results, inputs, options)
        for name, term in found.items():
            if is_free_to_read(term.values):
                self._check(name, self._are_outside(term.values))
        return {name: replace(term, values=self._raised(term.values), by_class=None) for name, term in found.items()}

    def _are_outside(self, values: Tensor) -> Tensor:
        """Return True for values without a power, such as a number below 0, or without a score, above 1."""
        below = values < -ROUNDED
        return below | (values > 1 + ROUNDED) if self.log else below & (self.exponent != 1)

    def _check(self, name: str, outside: Tensor) -> None:
        if outside.any():
            needed = "in [0, 1], as 1 - value is the score that log takes" if self.log else ">= 0"
            raise InputError(
                f"{name} inside power has values out of range; they must be {needed}: put {name} beside power in a"
                " weighted_sum"
            )

    def _raised(self, values: Tensor) -> Tensor:
        base = -(1 - values).clamp_min(EPSILON).log() if self.log else values
        base = torch.where(self._are_outside(values), torch.nan, base)
        if self.exponent == 1:
            return base
        # An image that is ignored whole has the value 0, which stays 0.
        return torch.where(base == 0, 0.0, base.clamp_min(EPSILON).pow(self.exponent))
