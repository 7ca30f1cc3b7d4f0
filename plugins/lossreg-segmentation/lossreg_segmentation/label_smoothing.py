"""Cross-entropy of independent masks: a factor of the positive pixels, and smoothed labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Unpack

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Term
from lossreg.authoring import Plan
from lossreg.errors import InputError
from lossreg_segmentation.class_numbers import per_class
from lossreg_segmentation.mask_loss import MaskLoss, MaskOptions
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.ratios import PixelMean
from lossreg_segmentation.segmentation_loss import required
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.checks import is_ignored
from lossreg_segmentation.statistics.request import sums_dtype

Positive = Annotated[float, Field(gt=0)]
PositiveWeight = Positive | Annotated[Sequence[Positive], Field(min_length=1)]
Smoothing = Annotated[float, Field(ge=0, lt=1)]

NO_NEGATIVES = "{} is the weight of positive against negative pixels, which softmax does not have"

# The two parts of binary cross-entropy: of pixels inside the mask and of pixels outside.
SIDES = frozenset({"cross_entropy_positive", "cross_entropy_negative"})


class SmoothedLoss(MaskLoss):
    """Base of cross-entropy with a factor of the positive pixels of masks, and with smoothed labels."""

    needs = SIDES | {"valid"}
    pos_weight: Tensor | None

    def __init__(
        self,
        *,
        pos_weight: PositiveWeight | None = None,
        label_smoothing: Smoothing = 0.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        self.label_smoothing = label_smoothing
        self.class_values("pos_weight", pos_weight)
        if self.task == "multiclass":
            self.no_positive_classes()
        elif self.task == "binary":
            per_class("pos_weight", self.pos_weight, 1)

    def plan(self, *inputs: Any, **options: Any) -> Plan | None:
        """Return the plan; it needs one pass, and smoothed masks take two."""
        return super().plan(*inputs, **options)

    def passes(self, input: Tensor, target: Tensor, *, weight: Tensor | None = None) -> list[MaskPass]:
        """Return the passes; smoothed masks need a second one, because no sum contains log p outside a mask."""
        (plain,) = super().passes(input, target, weight=weight)
        if self.label_smoothing == 0:
            return [plain]
        if plain.activation == "softmax":
            return [replace(plain, needs=plain.needs | {"cross_entropy_uniform"})]
        smoothed = replace(plain, target=self._smoothed(input, target), needs=SIDES)
        return [replace(plain, needs=plain.needs - SIDES), smoothed]

    def terms_from(
        self, results: Iterator[MaskStatistics], input: Tensor, target: Tensor, *, weight: Tensor | None = None
    ) -> dict[str, Term]:
        """Compute the terms by the formula."""
        statistics = next(results)
        # Decide by the task, not by missing sums: a shared pass may contain the sums of the plain target.
        if self.label_smoothing > 0 and self.task_of(input, target) != "multiclass":
            positive, negative = required(next(results), "cross_entropy_positive", "cross_entropy_negative")
            statistics = statistics._replace(cross_entropy_positive=positive, cross_entropy_negative=negative)
        return super().terms_from(iter([statistics]), input, target, weight=weight)

    def of_masks(self, classes: int) -> PixelMean:
        """Return the mean over the pixels of each independent mask."""
        positive = per_class("pos_weight", self.pos_weight, classes)
        return PixelMean({"cross_entropy_positive": positive, "cross_entropy_negative": 1.0})

    def no_positive_classes(self) -> None:
        """Raise InputError if positive pixels have a factor, for softmax classes."""
        if self.pos_weight is not None:
            raise InputError(f"{NO_NEGATIVES.format('pos_weight')}; weigh classes by class_weight=")

    def _smoothed(self, input: Tensor, target: Tensor) -> Tensor:
        """Return t (1 - s) + s / 2 for masks t; ignored values are unchanged."""
        masks = target.to(sums_dtype(input))
        smoothed = masks * (1 - self.label_smoothing) + self.label_smoothing / 2
        return torch.where(is_ignored(target, self.ignore_index), masks, smoothed)
