"""The combined training loss of Segment Anything."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lossreg import losses
from lossreg.authoring import Reduction
from lossreg_sam.masks import CONTRACT, IOU_SUMS, SamLoss, iou_error
from lossreg_segmentation.distributed import Distributed
from lossreg_segmentation.pixelwise import Share, Weight
from lossreg_segmentation.ratios import Formula, dice_loss, focal_loss
from lossreg_segmentation.segmentation_loss import Absent

FOCAL_SUMS = ("focal_positive", "focal_negative", "valid")
DICE_SUMS = ("intersection", "predicted", "actual")


@losses.register(
    "sam",
    aliases=("sam_loss",),
    tags=("segmentation", "sam", "pixelwise", "overlap", "calibration", "mixture", "binary", "logits", "imbalance"),
    contract=CONTRACT,
)
class SAM(SamLoss):
    r"""Focal, Dice and IoU prediction of masks that share one target, from one pass.

        loss = focal_weight focal + dice_weight dice + iou_weight (predicted_iou - IoU)^2

    Math:
        L = w_f\, L_f + w_d\, L_d + w_u\, (u - I)^2
        where $L_f$ is `focal` with `alpha` (0.25) and `gamma` (2), $L_d$ `dice` with `smooth` (1), $u$ the predicted
        IoU and $I$ the actual one of the mask of positive logits. $w_f$ is `focal_weight` (20), $w_d$ `dice_weight` (1)
        and $w_u$ `iou_weight` (1). The value is the mean over the masks.
    Args:
        focal_weight: factor of the focal loss, >= 0. A component of weight 0 is only logged.
        dice_weight: factor of the Dice loss, >= 0.
        iou_weight: factor of the squared error of the predicted IoU, >= 0.
        alpha: focal weight of positive pixels in [0, 1], negative ones weigh 1 - alpha; None weighs neither.
        gamma: focal exponent, >= 0, dimensionless.
        smooth: added to numerator and denominator of Dice, pixels, >= 0.
        ignore_index: target value of the pixels left out of all sums and counts; None for none.
        absent: value of focal and Dice for a mask without target pixels. "score": the value of the formula.
            "ignore": the mask is left out of their mean over M. "zero": 0. "false_positives": the mean of p.
        distributed: "global": the mean over the examples of all ranks, uneven and empty batches included; the ranks'
            losses and gradients average to it. With gradients off, as in validation, and with "local": each rank by
            itself.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        input (N, M, H, W) logits; target (N, H, W) or (N, 1, H, W), shared by the M masks; predicted_iou (N, M);
        weight of each pixel, of the target's shape or (N, M, H, W), or None.
        terms: {"focal", "dice", "iou"}: (N, M) each; focal in nats, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast but the target over M.
    Numerics: float32 or wider; finite for any finite logit; the actual IoU has no gradient; all ignored gives 0.
    Source: Kirillov et al. 2023, section A, "Losses": focal and Dice 20:1, mean squared error for the IoU.
    """

    needs = frozenset({*FOCAL_SUMS, *DICE_SUMS, *IOU_SUMS})

    def __init__(
        self,
        *,
        focal_weight: Weight = 20.0,
        dice_weight: Weight = 1.0,
        iou_weight: Weight = 1.0,
        alpha: Share | None = 0.25,
        gamma: Annotated[float, Field(ge=0)] = 2.0,
        smooth: Annotated[float, Field(ge=0)] = 1.0,
        ignore_index: int | None = None,
        absent: Absent = "score",
        distributed: Distributed = "local",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(ignore_index=ignore_index, distributed=distributed, reduction=reduction)
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight
        self.iou_weight = iou_weight
        self.alpha = alpha
        self.gamma = gamma
        self.smooth = smooth
        self.absent: Absent = absent

    def formulas(self) -> dict[str, Formula]:
        """Return the three parts, each before its weight."""
        return {
            "focal": focal_loss(self.alpha, self.focal_weight),
            "dice": dice_loss(self.smooth, self.dice_weight),
            "iou": iou_error(self.iou_weight),
        }
