"""The formulas of losses over sums: ratios of linear forms.

For example Dice, 1 - (2 TP + smooth) / (P + T + smooth), is

    Ratio({"intersection": 2}, {"predicted": 1, "actual": 1}, above=smooth, below=smooth, offset=1, scale=-1)

A formula is written once. Torch evaluates it here, step by step; `one_function` computes value and gradient at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lossreg_segmentation.class_numbers import as_like
from lossreg_segmentation.segmentation_loss import required, share
from lossreg_segmentation.statistics import MaskStatistics

Factor = float | Tensor  # of a sum; a tensor has one number per class
Linear = Mapping[str, Factor]  # the factor of each sum

# Lower bound of the denominators of overlaps, so that 0 / 0 gives a finite score when smooth is 0.
EPSILON = 1e-7


@dataclass(frozen=True, eq=False)
class Ratio:
    """A value of each mask or class: offset + scale (numerator + above) / (denominator + below).

    Args:
        least: lower bound of the denominator with `below`. None for a number of pixels, where 0 becomes 1.
        weight: factor of the term in the loss.
    """

    numerator: Linear
    denominator: Linear
    above: float = 0.0
    below: float = 0.0
    least: float | None = None
    offset: float = 0.0
    scale: float = 1.0
    weight: float = 1.0

    @property
    def sums(self) -> frozenset[str]:
        """Return the names of the sums."""
        return frozenset(self.numerator) | frozenset(self.denominator)

    @property
    def factors(self) -> list[Factor]:
        """Return the factors of the sums."""
        return [*self.numerator.values(), *self.denominator.values()]

    @property
    def bound(self) -> float:
        """Return the denominator where it would be less than `least`, or where it would be 0 pixels."""
        return 1.0 if self.least is None else self.least

    @property
    def limit(self) -> float:
        """Return the number below which the denominator is `bound`; the weights of pixels may add up to less than 1."""
        return sys.float_info.min if self.least is None else self.least

    def values(self, statistics: MaskStatistics) -> Tensor:
        """Compute the value of each mask, (B, C)."""
        above = linear(self.numerator, statistics) + self.above
        below = linear(self.denominator, statistics) + self.below
        if self.least is None:
            score = share(above, below)
        else:
            score = above / (below if self.below >= self.least else below.clamp_min(self.least))
        scaled = score if self.scale == 1 else self.scale * score
        return scaled if self.offset == 0 else self.offset + scaled


@dataclass(frozen=True, eq=False)
class PixelMean:
    """A mean over pixels: of each mask, or of all classes of an example under a softmax.

    Args:
        summed: the sum over the pixels.
        weight: factor of the term in the loss.
    """

    summed: Linear
    weight: float = 1.0

    @property
    def sums(self) -> frozenset[str]:
        """Return the names of the sums."""
        return frozenset(self.summed)

    @property
    def factors(self) -> list[Factor]:
        """Return the factors of the sums."""
        return [*self.summed.values()]

    def of_masks(self, pixels: str = "valid") -> Ratio:
        """Return the mean of each mask, divided by this sum."""
        return Ratio(self.summed, {pixels: 1.0}, weight=self.weight)


@dataclass(frozen=True, eq=False)
class PredictionError:
    """The error of a predicted number per mask, |predicted - ratio|^power; the ratio has no gradient.

    Args:
        power: 1 or 2.
        weight: factor of the term in the loss.
    """

    ratio: Ratio
    power: int = 2
    weight: float = 1.0

    @property
    def sums(self) -> frozenset[str]:
        """Return the names of the sums."""
        return self.ratio.sums

    @property
    def factors(self) -> list[Factor]:
        """Return the factors of the sums."""
        return self.ratio.factors

    def values(self, statistics: MaskStatistics, predicted: Tensor) -> Tensor:
        """Compute the error of each mask, (B, C)."""
        actual = self.ratio.values(statistics)
        error = predicted.to(actual.dtype) - actual
        return error.square() if self.power == 2 else error.abs()


Formula = Ratio | PixelMean | PredictionError


def overlap_loss(numerator: Linear, denominator: Linear, smooth: float, weight: float = 1.0) -> Ratio:
    """Return 1 - (numerator + smooth) / (denominator + smooth)."""
    return Ratio(
        numerator, denominator, above=smooth, below=smooth, least=EPSILON, offset=1.0, scale=-1.0, weight=weight
    )


def dice_loss(smooth: float, weight: float = 1.0) -> Ratio:
    """Return the Dice loss of each mask."""
    return overlap_loss({"intersection": 2.0}, {"predicted": 1.0, "actual": 1.0}, smooth, weight)


def tversky_loss(alpha: float, beta: float, smooth: float) -> Ratio:
    """Return 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth) of each mask."""
    wrong = {"predicted": alpha, "actual": beta, "intersection": 1.0 - alpha - beta}
    return overlap_loss({"intersection": 1.0}, wrong, smooth)


def focal_loss(alpha: Factor | None, weight: float = 1.0, positive: Factor = 1.0) -> PixelMean:
    """Return the focal loss of independent masks, whose positive pixels weigh alpha and negative ones 1 - alpha.

    Args:
        weight: factor of the term in the loss.
        positive: another factor of the positive pixels.
    """
    inside, outside = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)
    return PixelMean({"focal_positive": inside * positive, "focal_negative": outside}, weight)


def linear(factors: Linear, statistics: MaskStatistics) -> Tensor:
    """Return the sums, each times its factor, added up."""
    values = required(statistics, *factors)
    given = list(zip(factors.values(), values, strict=True))
    # Skipped, because 0 times infinity is NaN.
    counted = [pair for pair in given if isinstance(pair[0], Tensor) or pair[0] != 0] or given[:1]
    parts = [_times(factor, value) for factor, value in counted]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _times(factor: Factor, value: Tensor) -> Tensor:
    if isinstance(factor, Tensor):
        return as_like(factor, value) * value
    return value if factor == 1 else factor * value


def ratio(numerator: Tensor, denominator: Tensor, smooth: float) -> Tensor:
    """Divide, with a denominator >= EPSILON. It contains `smooth`, so a large enough `smooth` needs no clamp."""
    return numerator / (denominator if smooth >= EPSILON else denominator.clamp_min(EPSILON))
