"""Spatial relevance: Segment Anything's loss of masks, and the alignment of their regions with texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossreg import Loss, Term, losses
from lossreg.authoring import PerPixel, Reduction, contract
from lossreg.errors import ShapeError
from lossreg_sam.sam import SAM
from lossreg_sam.text_region_contrast import Temperature, TextRegionContrast
from lossreg_segmentation.distributed import Distributed, means_over_ranks
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.pixelwise import Weight
from lossreg_segmentation.segmentation_loss import Absent, required
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.choice import IMPLEMENTATIONS

CONTRACT = contract(
    input="logits of M masks, and embeddings of regions and texts",
    target="mask shared by the M predictions",
    tasks=["binary"],
    per_example=False,  # as text_region_contrast
    implementations=IMPLEMENTATIONS,
)


@losses.register(
    "spatial_relevance",
    aliases=("spatial_relevance_loss",),
    tags=("segmentation", "sam", "alignment", "mixture", "binary", "logits", "embeddings", "imbalance"),
    contract=CONTRACT,
)
class SpatialRelevance(Loss):
    r"""Focal, Dice and IoU prediction of masks, and alignment of regions with texts.

        loss = focal_weight focal + dice_weight dice + iou_weight (predicted_iou - IoU)^2 + alignment_weight contrast

    Math:
        L = w_f\, L_f + w_d\, L_d + w_u\, (u - I)^2 + w_a\, L_a
        where $L_f$ is `focal`, $L_d$ `dice`, $u$ the predicted IoU, $I$ the actual one and $L_a$ `text_region_contrast`
        with `temperature` (0.07). $w_f$ is `focal_weight` (20), $w_d$ `dice_weight` (1), $w_u$ `iou_weight` (1) and
        $w_a$ `alignment_weight` (1).
    Args:
        focal_weight: factor of the focal loss, >= 0. A component of weight 0 is only logged.
        dice_weight: factor of the Dice loss, >= 0.
        iou_weight: factor of the squared error of the predicted IoU, >= 0.
        alignment_weight: factor of the text-region contrast, >= 0.
        temperature: divisor of the similarities, at least 1/100, dimensionless.
        learnable_temperature: train the temperature from this value on; give the loss's parameters to the optimiser.
        ignore_index: target value of the pixels left out of all sums and counts; None for none.
        absent: value of focal and Dice for a mask without target pixels. "score": the value of the formula.
            "ignore": the mask is left out of their mean over M. "zero": 0. "false_positives": the mean of p.
        distributed: "global": the mean over the examples of all ranks, and the contrast with all their pairs.
            With gradients off, as in validation, and with "local": each rank by itself.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        input (N, M, H, W) logits; target (N, H, W) or (N, 1, H, W), shared by the M masks; predicted_iou (N, M);
        region (N, D) and text (N, D) embeddings; optional caption (N,) integer, equal for texts of one meaning, and
        weight of each pixel, of the target's shape or (N, M, H, W).
        terms: {"focal", "dice", "iou"}: (N, M) each; {"alignment": (N,)}, 0 where the target is empty.
    Raises:
        ShapeError: sizes differ; nothing is broadcast but the target over M.
    Numerics: as `sam` and `text_region_contrast`. A region without target pixels takes no part in the contrast.
    Source: Kirillov et al. 2023, section A, "Losses"; Radford et al. 2021, figure 3.
    """

    per_pixel: ClassVar[Mapping[str, PerPixel]] = {"weight": "weight"}

    def __init__(
        self,
        *,
        focal_weight: Weight = 20.0,
        dice_weight: Weight = 1.0,
        iou_weight: Weight = 1.0,
        alignment_weight: Weight = 1.0,
        temperature: Temperature = 0.07,
        learnable_temperature: bool = False,
        ignore_index: int | None = None,
        absent: Absent = "score",
        distributed: Distributed = "local",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.alignment_weight = alignment_weight
        self.masks = SAM(
            focal_weight=focal_weight,
            dice_weight=dice_weight,
            iou_weight=iou_weight,
            ignore_index=ignore_index,
            absent=absent,
            distributed=distributed,
            reduction=reduction,
        )
        self.alignment = TextRegionContrast(
            temperature=temperature,
            learnable_temperature=learnable_temperature,
            distributed=distributed,
            reduction=reduction,
        )

    def warm_up_inputs(self, input: Tensor, target: Tensor) -> tuple[Any, ...]:
        """Return inputs for `lossreg warm-up` from logits and target."""
        embeddings = torch.eye(len(input))
        return *self.masks.warm_up_inputs(input, target), embeddings, embeddings

    def passes(
        self,
        input: Tensor,
        target: Tensor,
        predicted_iou: Tensor,
        region: Tensor,
        text: Tensor,
        caption: Tensor | None = None,
        *,
        weight: Tensor | None = None,
    ) -> list[MaskPass]:
        """Return the pass over the masks."""
        return self.masks.passes(input, target, predicted_iou, weight=weight)

    def terms_from(
        self,
        results: Iterator[MaskStatistics],
        input: Tensor,
        target: Tensor,
        predicted_iou: Tensor,
        region: Tensor,
        text: Tensor,
        caption: Tensor | None = None,
        *,
        weight: Tensor | None = None,
    ) -> dict[str, Term]:
        """Compute the terms of the masks, and the contrast of the regions that have pixels."""
        if isinstance(region, Tensor) and region.shape[:1] != input.shape[:1]:
            raise ShapeError(
                f"input has shape {tuple(input.shape)} and region {tuple(region.shape)}; give one embedding for each of"
                f" the {len(input)} targets"
            )
        statistics = next(results)
        valid = required(statistics, "actual")[0][:, 0] > 0
        terms = self.masks.formula(statistics, predicted_iou)
        values = self.alignment.values(region, text, caption, valid)
        terms["alignment"] = Term(values, "example", self.alignment_weight)
        return means_over_ranks(terms, input) if self.masks.distributed == "global" else terms
