"""Deep supervision: one loss on the outputs of a network at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from lossreg.composites.base import TERMS, Composite, normalized, terms_of, with_factor, with_prefix
from lossreg.composites.heads import refuse_stacked_heads
from lossreg.composites.resizing import on_level
from lossreg.contract import contract
from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg.loss import Reduction, Term
from lossreg.registries import losses

LEAST = 0.0625  # weight of the coarsest levels under "exp"

Schedule = Literal["same", "two", "exp"]


@losses.register(
    "deep_supervision",
    aliases=("deep_supervision_loss",),
    tags=("composite", "deep_supervision"),
    contract=contract(
        input="one or several inputs of the loss, finest first",
        target=TERMS,
        tasks=["binary", "multilabel", "multiclass"],
        positional=True,
    ),
    example={"loss": "dice"},
)
class DeepSupervision(Composite):
    r"""Weighted sum of one loss over the outputs at several resolutions.

        loss = sum_i weight_i loss(input_i, target resized to input_i)

    Math:
        L = \sum_i w_i\, \ell(x_i, t_i)
        where $x_i$ is the output of level $i = 0, 1, \dots$, finest first, $t_i$ the target resized to it, $\ell$ the
        loss and $w_i = \max(2^{-i}, \tfrac{1}{16})$, or as in `weights`.
    Args:
        loss: the loss of each level.
        weights: of the levels, finest first. "same": 1. "two": 1, then 0.5. "exp": 0.5^i, at least 0.0625. A list has
            one per level; a level of weight 0 is only logged.
        normalize_weights: divide the weights by the sum of their magnitudes.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        input: sequence of (N, C, *), finest first. A tensor is the finest level alone, under the first weight, so that
        a network whose other heads are disabled in evaluation needs no other loss.
        target (N, *) or (N, C, *) of any resolution, or a list of one per level. An option with a value for each pixel,
        such as weight=, is resized like it, and a skeleton by its maximum; distances need a list of one map per level.
        Further inputs go to every level unchanged.
        terms: those of each level, named 0.dice, or 0.name.term if the loss has several.
    Raises:
        ShapeError: a list of weights, targets or maps that has not one per level; levels that are not finest first; a
            target of other dimensions.
        InputError: no level; a loss with another reduction than the mean; one map of distances for several sizes.
    Numerics: as the loss. Targets and weights are resized by nearest-exact in whole numbers, so class indices stay the
        same.
    Source: Lee et al. 2015, with the weights of MONAI's DeepSupervisionLoss.
    """

    def __init__(
        self,
        *,
        loss: nn.Module,
        weights: Schedule | Annotated[Sequence[float], Field(min_length=1)] = "exp",
        normalize_weights: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__([loss], reduction=reduction)
        self.loss = loss
        self.weights = weights
        self.normalize_weights = normalize_weights
        # Raise now for weights that are wrong under any input.
        self.level_weights(1 if isinstance(weights, str) else len(weights))

    def terms(
        self, input: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor], *others: Any, **options: Any
    ) -> dict[str, Term]:
        refuse_stacked_heads(input, target)
        levels = _levels(input)
        # A tensor is the first of the levels for which a list of weights is meant.
        alone = isinstance(input, Tensor) and not isinstance(self.weights, str)
        weights = self.level_weights(len(self.weights) if alone else len(levels))
        found: dict[str, Term] = {}
        ((given, own),) = self.calls_of_parts((input, target, *others), options)
        for number, (level, weight) in enumerate(zip(levels, weights, strict=False)):
            resized = on_level(target, number, levels, name="target", meaning="labels")
            maps = {
                name: on_level(own[name], number, levels, name=name, meaning=meaning)
                for name, meaning in self.maps().items()
                if own.get(name) is not None
            }
            terms = terms_of(self.loss, level, resized, *given[2:], **{**own, **maps})
            prefixed = with_prefix(f"{number}.{self.names[0]}", terms)
            found |= {key: with_factor(term, weight) for key, term in prefixed.items()}
        return found

    def level_weights(self, levels: int) -> list[float]:
        """Return the weight of each level, finest first.

        Raises:
            ShapeError: a list of weights has not one per level.
            InputError: weights to normalise are all 0; an unknown name of weights.
        """
        weights = _weights(self.weights, levels)
        return normalized(weights) if self.normalize_weights else weights


def _weights(weights: str | Sequence[float], levels: int) -> list[float]:
    if not isinstance(weights, str):
        if len(weights) != levels:
            raise ShapeError(f"{len(weights)} weights for {levels} levels of input; give one weight per level")
        return [float(weight) for weight in weights]
    if weights == "same":
        return [1.0] * levels
    if weights == "two":
        return [1.0] + [0.5] * (levels - 1)
    if weights == "exp":
        return [max(0.5**level, LEAST) for level in range(levels)]
    raise InputError(f"weights must be 'same', 'two', 'exp' or a list of numbers, got {weights!r}")


def _levels(input: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    levels = [input] if isinstance(input, Tensor) else input
    if not isinstance(levels, Sequence) or not all(isinstance(level, Tensor) for level in levels):
        raise DTypeError(f"input must be a tensor or a sequence of tensors, finest first, got {type(input).__name__}")
    if not levels:
        raise InputError("input has no level; give at least one tensor, finest first")
    pixels = [prod(level.shape[2:]) for level in levels]
    if any(finer < coarser for finer, coarser in pairwise(pixels)):
        sizes = ", ".join(str(tuple(level.shape)) for level in levels)
        raise ShapeError(f"levels of input must come finest first, got shapes {sizes}; reverse them")
    return levels
