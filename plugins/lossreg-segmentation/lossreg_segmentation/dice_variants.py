"""Variants of Dice: with squares, under log-cosh, and over all classes at once."""

from __future__ import annotations

from typing import Annotated, Literal, Unpack, get_args

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Term, losses
from lossreg.errors import InputError
from lossreg_segmentation.mask_loss import CONTRACT, MaskLoss, MaskOptions
from lossreg_segmentation.overlap import TAGS, Dice, OverlapLoss, OverlapOptions
from lossreg_segmentation.ratios import Formula, dice_loss, overlap_loss, ratio
from lossreg_segmentation.segmentation_loss import required
from lossreg_segmentation.statistics import MaskStatistics

Weighting = Literal["square", "simple", "uniform"]


@losses.register("squared_dice", aliases=("squared_dice_loss", "vnet_dice"), tags=TAGS, contract=CONTRACT)
class SquaredDice(MaskLoss):
    r"""Dice with squared probabilities in the denominator, as in V-Net.

        loss = 1 - (2 sum p t + smooth) / (sum p^2 + sum t^2 + smooth)

    Math:
        L = 1 - \frac{2 \sum_i p_i t_i + s}{\sum_i p_i^2 + \sum_i t_i^2 + s}
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target and $s$ is `smooth` (1). An empty mask
        costs $\sum_i p_i^2 / (\sum_i p_i^2 + s)$; `absent` changes that.
    Args:
        smooth: added to numerator and denominator, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"squared_dice": (N, C)}, in [0, 1].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. With smooth=0, empty on empty is 1.
    Source: Milletari et al. 2016, eq. 3.
    """

    needs = frozenset({"product", "predicted_squared", "actual_squared"})
    means_pixels = False

    def __init__(self, *, smooth: Annotated[float, Field(ge=0)] = 1.0, **options: Unpack[MaskOptions]) -> None:
        super().__init__(**options)
        self.smooth = smooth

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return one minus the score of each mask."""
        squares = {"predicted_squared": 1.0, "actual_squared": 1.0}
        return {"squared_dice": overlap_loss({"product": 2.0}, squares, self.smooth)}


@losses.register(
    "log_cosh_dice", aliases=("log_cosh_dice_loss", "logcosh_dice"), tags=(*TAGS, "smoothing"), contract=CONTRACT
)
class LogCoshDice(Dice):
    r"""Log-cosh of Dice: its square near 0, its slope below 1 everywhere.

        loss = log cosh(dice)

    Math:
        L = \log \cosh \left( 1 - \frac{2\,TP + s}{P + T + s} \right)
        where $TP = \sum_i \min(p_i, t_i)$, $P = \sum_i p_i$, $T = \sum_i t_i$ over the probabilities $p_i$ and targets
        $t_i$ of the pixels, and $s$ is `smooth` (1). An empty mask costs $\log \cosh (P / (P + s))$; `absent` changes
        that.
    Args:
        smooth: added to numerator and denominator of Dice, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"log_cosh_dice": (N, C)}, in [0, log cosh 1 = 0.434].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider, as log1p(sinh^2) / 2, which keeps its digits near 0; finite for any finite logit;
        all ignored gives 0.
    Source: Jadon 2020, log-cosh Dice loss.
    """

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Return the log-cosh of the Dice loss of each mask."""
        values = torch.log1p(torch.sinh(self.with_overlap(dice_loss(self.smooth)).values(statistics)).square()) / 2
        return {"log_cosh_dice": self.class_term(values, statistics)}


@losses.register(
    "generalized_dice", aliases=("generalized_dice_loss", "generalised_dice", "gdl"), tags=TAGS, contract=CONTRACT
)
class GeneralizedDice(OverlapLoss):
    r"""One Dice over all classes, each weighted by the inverse of its volume.

        loss = 1 - (2 sum_c w_c TP_c + smooth) / (sum_c w_c (P_c + T_c) + smooth)
        w_c = (T_min / T_c)^k

    T_min is the volume of the smallest class that is present, so that the largest weight is 1. A common factor of the
    weights changes only the unit of `smooth`. A class without target pixels has the largest weight; with
    absent="ignore" it has weight 0. class_weight multiplies w.

    Math:
        L = 1 - \frac{2 \sum_c w_c\,TP_c + s}{\sum_c w_c\,(P_c + T_c) + s}, \quad w_c = \left( \frac{T_{\min}}{T_c}
            \right)^k
        where $TP_c = \sum_i \min(p_{ic}, t_{ic})$, $P_c = \sum_i p_{ic}$, $T_c = \sum_i t_{ic}$ of class $c$,
        $T_{\min}$ is the smallest $T_c$ above 0, $k$ is 2 (weighting) and $s$ `smooth` (1). A class without target
        pixels has $w_c = 1$, with `absent` "ignore" 0.
    Args:
        weighting: "square" is k = 2, "simple" k = 1, "uniform" k = 0.
        smooth: added to numerator and denominator, pixels of the smallest class, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"generalized_dice": (N,)}, in [0, 1].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: absent="zero" or "false_positives": no class has a value of its own.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0, and so does an example in which every
        class has weight 0.
    Source: Sudre et al. 2017, eq. 2.
    """

    def __init__(
        self,
        *,
        weighting: Weighting = "square",
        smooth: Annotated[float, Field(ge=0)] = 1.0,
        **options: Unpack[OverlapOptions],
    ) -> None:
        super().__init__(**options)
        if weighting not in get_args(Weighting):
            raise InputError(f"weighting is 'square', 'simple' or 'uniform', got {weighting!r}")
        if self.absent not in ("score", "ignore"):
            raise InputError(
                f"absent={self.absent!r} has no meaning for generalized Dice, where no class has a value of its own:"
                " use 'score' (a class without pixels has the largest weight) or 'ignore' (it has none)"
            )
        self.weighting = weighting
        self.smooth = smooth

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Return one minus the score over the classes of each example."""
        overlap, predicted, actual = required(statistics, self.true_positives, "predicted", "actual")
        weights = self._weights(statistics)
        numerator = 2 * (weights * overlap).sum(1) + self.smooth
        denominator = (weights * (predicted + actual)).sum(1) + self.smooth
        values = 1 - ratio(numerator, denominator, self.smooth)
        values = torch.where((weights > 0).any(1), values, 0.0)
        return {"generalized_dice": Term(values, "batch" if self.batch else "example")}

    def _weights(self, statistics: MaskStatistics) -> Tensor:
        """Return the weights w, (B, C): at most 1 before class_weight, and 0 for classes that do not count."""
        (actual,) = required(statistics, "actual")
        present = actual > 0
        counted = torch.ones_like(present) if self.absent == "score" else present
        if self.ignoring(statistics):
            counted = counted & (required(statistics, "valid")[0] > 0)
        factors = torch.ones_like(actual)
        by_class = self.class_weights(actual)
        if by_class is not None:
            factors = by_class.expand_as(actual)
        usable = present & (factors > 0)
        smallest = torch.where(usable, actual, torch.inf).amin(1, keepdim=True)
        share = torch.where(usable, smallest / torch.where(usable, actual, 1.0), 0.0)  # inf without a usable class
        weights = torch.where(present, share ** {"square": 2, "simple": 1, "uniform": 0}[self.weighting], 1.0)
        return torch.where(counted & (factors > 0), factors * weights, 0.0)
