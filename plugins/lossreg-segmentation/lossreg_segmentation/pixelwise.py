"""Pixelwise losses: a mean over pixels of a function of p_t, the probability of the pixel's true class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Unpack

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Term, losses
from lossreg.authoring import Plan
from lossreg.errors import InputError, ShapeError
from lossreg_segmentation.mask_loss import CONTRACT, INDEPENDENT_CONTRACT, MaskLoss, MaskOptions
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.ratios import Factor, Formula, PixelMean, focal_loss
from lossreg_segmentation.segmentation_loss import required
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.checks import is_ignored
from lossreg_segmentation.statistics.request import sums_dtype

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]

BINARY_TAGS = ("segmentation", "pixelwise", "binary", "multilabel", "logits")
TAGS = (*BINARY_TAGS, "multiclass")

# The two parts of binary cross-entropy: of pixels inside the mask and of pixels outside.
SIDES = frozenset({"cross_entropy_positive", "cross_entropy_negative"})


@losses.register("bce", aliases=("bce_loss", "binary_cross_entropy"), tags=BINARY_TAGS, contract=INDEPENDENT_CONTRACT)
class BCE(MaskLoss):
    """Binary cross-entropy of independent masks.

        loss = -pos_weight t log p - (1 - t) log(1 - p)

    Args:
        pos_weight: factor of the positive pixels, > 0; a number or one per channel. None is 1.
    Shapes:
        input (N, C, *) logits; target (N, C, *) masks, or (N, *) for C = 1.
        terms: {"bce": (N, C)}, nats, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0.
    Source: torch.nn.BCEWithLogitsLoss.
    """

    needs = frozenset({"valid", "cross_entropy_positive", "cross_entropy_negative"})
    tasks = ("binary", "multilabel")
    pos_weight: Tensor | None

    def __init__(
        self,
        *,
        pos_weight: Positive | Annotated[Sequence[Positive], Field(min_length=1)] | None = None,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        self.class_values("pos_weight", pos_weight)

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the mean over the pixels of each mask."""
        positive: Factor = 1.0 if self.pos_weight is None else per_class("pos_weight", self.pos_weight, classes)
        return {"bce": PixelMean({"cross_entropy_positive": positive, "cross_entropy_negative": 1.0})}


@losses.register("cross_entropy", aliases=("cross_entropy_loss", "ce"), tags=TAGS, contract=CONTRACT)
class CrossEntropy(MaskLoss):
    """Cross-entropy of mutually exclusive classes, or of independent masks (both sides added).

        loss = -sum_c t_c log p_c

    Args:
        label_smoothing: share s of the target that is spread evenly over all classes, t (1 - s) + s / C, in [0, 1); for
            masks over both sides, t (1 - s) + s / 2.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) soft classes or masks.
        terms: {"cross_entropy": (N,) multiclass, (N, C) otherwise}, nats, mean over valid pixels; with class_weight
        sum_i w l / sum_i w, like torch with class indices.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: absent= with multiclass, where a class without pixels adds nothing.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. Smoothed masks take a second pass.
    Source: torch.nn.CrossEntropyLoss; batch=True gives its mean over all pixels of the batch. Smoothing: Szegedy et al.
        2016, section 7.
    """

    needs = frozenset({"valid", "cross_entropy_positive", "cross_entropy_negative"})

    def __init__(
        self,
        *,
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        self.label_smoothing = label_smoothing

    def plan(self, *inputs: Any, **options: Any) -> Plan | None:
        """Return the plan; it needs one pass, and smoothed masks take two."""
        return super().plan(*inputs, **options)

    def passes(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> list[MaskPass]:
        """Return the passes; smoothed masks need a second one, because no sum contains log p outside a mask."""
        (plain,) = super().passes(input, target, weight)
        if self.label_smoothing == 0:
            return [plain]
        if plain.activation == "softmax":
            return [replace(plain, needs=plain.needs | {"cross_entropy_uniform"})]
        smoothed = replace(plain, target=self._smoothed(input, target), needs=SIDES)
        return [replace(plain, needs=plain.needs - SIDES), smoothed]

    def terms_from(
        self, results: Iterator[MaskStatistics], input: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> dict[str, Term]:
        """Compute the terms by the formula."""
        statistics = next(results)
        # Decide by the task, not by missing sums: a shared pass may contain the sums of the plain target.
        if self.label_smoothing > 0 and self.task_of(input, target) != "multiclass":
            positive, negative = required(next(results), "cross_entropy_positive", "cross_entropy_negative")
            statistics = statistics._replace(cross_entropy_positive=positive, cross_entropy_negative=negative)
        return super().terms_from(iter([statistics]), input, target, weight)

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the mean over the pixels of each example, or of each independent mask."""
        if task != "multiclass":
            return {"cross_entropy": PixelMean({"cross_entropy_positive": 1.0, "cross_entropy_negative": 1.0})}
        share = self.label_smoothing
        spread = {"cross_entropy_uniform": share / classes} if share > 0 else {}
        return {"cross_entropy": PixelMean({"cross_entropy_positive": 1.0 - share} | spread)}

    def _smoothed(self, input: Tensor, target: Tensor) -> Tensor:
        """Return t (1 - s) + s / 2 for masks t; ignored values are unchanged."""
        masks = target.to(sums_dtype(input))
        smoothed = masks * (1 - self.label_smoothing) + self.label_smoothing / 2
        return torch.where(is_ignored(target, self.ignore_index), masks, smoothed)


@losses.register("focal", aliases=("focal_loss",), tags=(*TAGS, "imbalance"), contract=CONTRACT)
class Focal(MaskLoss):
    """Cross-entropy with easy pixels down-weighted by (1 - p_t)^gamma.

        loss = -alpha_t (1 - p_t)^gamma log p_t

    Args:
        alpha: weight of positive pixels in [0, 1]; negative pixels have weight 1 - alpha. None: both have weight 1.
            Softmax has no negatives: there a list gives one factor per class, and the default has no effect.
        gamma: focusing exponent, >= 0, dimensionless. 0 gives cross-entropy.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"focal": (N,) multiclass, (N, C) otherwise}, nats, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: a list of alpha for masks, a number other than the default for classes.
    Numerics: float32 or wider, the power in log space; finite for any finite logit; all ignored gives 0.
    Source: Lin et al. 2017, eq. 5.
    """

    needs = frozenset({"valid", "focal_positive", "focal_negative"})
    alpha_per_class: Tensor | None

    def __init__(
        self,
        *,
        alpha: Share | Annotated[Sequence[Weight], Field(min_length=2)] | None = 0.25,
        gamma: Annotated[float, Field(ge=0)] = 2.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        self.alpha = alpha
        self.gamma = gamma
        self.class_values("alpha_per_class", alpha if isinstance(alpha, Sequence) else None)

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the mean over the pixels of each example, or of each independent mask."""
        if task == "multiclass":
            return {"focal": PixelMean({"focal_positive": self._factor(classes)})}
        if isinstance(self.alpha, Sequence):
            raise InputError(f"alpha has one weight per class, but the task is {task}; give one number from 0 to 1")
        return {"focal": focal_loss(self.alpha)}

    def _factor(self, classes: int) -> Factor:
        if self.alpha_per_class is not None:
            return per_class("alpha", self.alpha_per_class, classes)
        if self.alpha not in (None, 0.25):
            raise InputError(
                f"alpha={self.alpha} is the weight of positive against negative pixels, which softmax does not have;"
                f" give alpha as a list of {classes} factors, one per class"
            )
        return 1.0


def per_class(name: str, values: Tensor, classes: int) -> Tensor:
    """Check that there is one number, or one for each class."""
    if values.ndim == 1 and len(values) != classes:
        raise ShapeError(f"{name} has {len(values)} values, input has {classes} classes; give one per class")
    return values
