"""Overlap losses: 1 - a ratio of the sums of true positives, false positives and false negatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Unpack

import torch
from pydantic import Field

from lossreg import Term, losses
from lossreg.errors import InputError
from lossreg_segmentation.mask_loss import CONTRACT, MaskLoss, MaskOptions
from lossreg_segmentation.ratios import EPSILON, Formula, Linear, Ratio, dice_loss, tversky_loss
from lossreg_segmentation.statistics import MaskStatistics

TAGS = ("segmentation", "overlap", "binary", "multilabel", "multiclass", "logits", "imbalance")


Overlap = Literal["min", "product"]


class OverlapOptions(MaskOptions, total=False):
    """Options of overlap losses. `OverlapLoss` and `MaskLoss` document them and their defaults."""

    overlap: Overlap


class OverlapLoss(MaskLoss):
    """Base of losses that are a formula over intersection, predicted and actual.

    Args:
        overlap: TP of a soft target. "min" is sum min(p, t), whose loss is least at p = t. "product" is sum p t, as in
            most other libraries, whose loss is least at hard p. Hard targets have the same TP under both.
        **options: the options of `MaskLoss`.
    """

    needs = frozenset({"intersection", "predicted", "actual"})
    means_pixels = False

    def __init__(self, *, overlap: Overlap = "min", **options: Unpack[MaskOptions]) -> None:
        super().__init__(**options)
        if overlap not in ("min", "product"):
            raise InputError(f"overlap is 'min' or 'product', got {overlap!r}")
        self.overlap = overlap
        if overlap == "product":
            self.needs = self.needs - {"intersection"} | {"product"}

    @property
    def true_positives(self) -> str:
        """Return the name of the sum of true positives."""
        return "product" if self.overlap == "product" else "intersection"

    def with_overlap(self, formula: Ratio) -> Ratio:
        """Return a formula of the intersection as one of the chosen overlap."""
        if self.overlap == "min":
            return formula

        def renamed(factors: Linear) -> Linear:
            return {self.true_positives if name == "intersection" else name: k for name, k in factors.items()}

        return replace(formula, numerator=renamed(formula.numerator), denominator=renamed(formula.denominator))


@losses.register("dice", aliases=("dice_loss",), tags=TAGS, contract=CONTRACT)
class Dice(OverlapLoss):
    r"""Overlap as the Dice (F1) score: 1 for disjoint masks, 0 for equal ones.

        loss = 1 - (2 TP + smooth) / (P + T + smooth)

    Math:
        L = 1 - \frac{2\,TP + s}{P + T + s}
        where $TP = \sum_i \min(p_i, t_i)$, $P = \sum_i p_i$, $T = \sum_i t_i$ over the probabilities $p_i$ and targets
        $t_i$ of the pixels, and $s$ is `smooth` (1). An empty mask costs $P / (P + s)$; `absent` changes that.
    Args:
        smooth: added to numerator and denominator, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"dice": (N, C)}, in [0, 1].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. With smooth=0, empty on empty is 1.
    Source: Milletari et al. 2016, eq. 3, without squares; TP of soft targets is sum min(p, t) by default.
    """

    def __init__(self, *, smooth: Annotated[float, Field(ge=0)] = 1.0, **options: Unpack[OverlapOptions]) -> None:
        super().__init__(**options)
        self.smooth = smooth

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return one minus the Dice score of each mask."""
        return {"dice": self.with_overlap(dice_loss(self.smooth))}


@losses.register("jaccard", aliases=("jaccard_loss", "iou", "iou_loss"), tags=TAGS, contract=CONTRACT)
class Jaccard(OverlapLoss):
    r"""Overlap as intersection over union.

        loss = 1 - (TP + smooth) / (P + T - TP + smooth)

    Math:
        L = 1 - \frac{TP + s}{P + T - TP + s}
        where $TP = \sum_i \min(p_i, t_i)$, $P = \sum_i p_i$, $T = \sum_i t_i$ over the probabilities $p_i$ and targets
        $t_i$ of the pixels, and $s$ is `smooth` (1). An empty mask costs $P / (P + s)$; `absent` changes that.
    Args:
        smooth: added to numerator and denominator, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"jaccard": (N, C)}, in [0, 1].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. With smooth=0, empty on empty is 1.
    Source: Rahman and Wang 2016, eq. 1.
    """

    def __init__(self, *, smooth: Annotated[float, Field(ge=0)] = 1.0, **options: Unpack[OverlapOptions]) -> None:
        super().__init__(**options)
        self.smooth = smooth

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return one minus intersection over union of each mask."""
        return {"jaccard": self.with_overlap(tversky_loss(1.0, 1.0, self.smooth))}


@losses.register("tversky", aliases=("tversky_loss",), tags=TAGS, contract=CONTRACT)
class Tversky(OverlapLoss):
    r"""Overlap with weights of false positives and false negatives. Dice is .5/.5, Jaccard 1/1.

        loss = 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth)

    Math:
        L = 1 - \frac{TP + s}{TP + \alpha\,FP + \beta\,FN + s}
        where $TP = \sum_i \min(p_i, t_i)$, $P = \sum_i p_i$, $T = \sum_i t_i$ over the probabilities $p_i$ and targets
        $t_i$ of the pixels, $FP = P - TP$, $FN = T - TP$, $\alpha$ is `alpha` (0.5), $\beta$ `beta` (0.5) and $s$
        `smooth` (1). An empty mask costs $\alpha P / (\alpha P + s)$; `absent` changes that.
    Args:
        alpha: weight of false positives, >= 0.
        beta: weight of false negatives, >= 0; more than alpha favours recall.
        smooth: added to numerator and denominator, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"tversky": (N, C)}, in [0, 1].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. With smooth=0, empty on empty is 1.
    Source: Salehi et al. 2017, eq. 4.
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0)] = 0.5,
        beta: Annotated[float, Field(ge=0)] = 0.5,
        smooth: Annotated[float, Field(ge=0)] = 1.0,
        **options: Unpack[OverlapOptions],
    ) -> None:
        super().__init__(**options)
        self.alpha = alpha
        self.beta = beta
        self.smooth = smooth

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return one minus the Tversky score of each mask."""
        return {"tversky": self.with_overlap(tversky_loss(self.alpha, self.beta, self.smooth))}


@losses.register("focal_tversky", aliases=("focal_tversky_loss",), tags=TAGS, contract=CONTRACT)
class FocalTversky(Tversky):
    r"""Tversky loss of each class raised to a power, before any mean.

        loss = (1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth))^gamma

    Math:
        L = \left( 1 - \frac{TP + s}{TP + \alpha\,FP + \beta\,FN + s} \right)^\gamma
        where $TP = \sum_i \min(p_i, t_i)$, $P = \sum_i p_i$, $T = \sum_i t_i$ over the probabilities $p_i$ and targets
        $t_i$ of the pixels, $FP = P - TP$, $FN = T - TP$, $\gamma$ is `gamma` (0.75), $\alpha$ `alpha` (0.5), $\beta$
        `beta` (0.5) and $s$ `smooth` (1). The base is at least $10^{-7}$. For an empty mask it is $\alpha P / (\alpha P
        + s)$; `absent` changes that.
    Args:
        gamma: exponent, > 0, dimensionless. 1 gives Tversky; below 1 raises the loss of masks that are nearly right.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"focal_tversky": (N, C)}, in [0, 1].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; 1 - score is at least 1e-7 before the power, so a perfect mask has a finite gradient;
        all ignored gives 0.
    Source: Abraham and Khan 2019, eq. 4, whose 1/gamma is this gamma.
    """

    def __init__(
        self,
        *,
        gamma: Annotated[float, Field(gt=0)] = 0.75,
        alpha: Annotated[float, Field(ge=0)] = 0.5,
        beta: Annotated[float, Field(ge=0)] = 0.5,
        smooth: Annotated[float, Field(ge=0)] = 1.0,
        **options: Unpack[OverlapOptions],
    ) -> None:
        super().__init__(alpha=alpha, beta=beta, smooth=smooth, **options)
        self.gamma = gamma

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Return the power of one minus the Tversky score of each mask."""
        values = self.with_overlap(tversky_loss(self.alpha, self.beta, self.smooth)).values(statistics)
        values = torch.pow(values.clamp_min(EPSILON), self.gamma)
        return {"focal_tversky": self.class_term(values, statistics)}
