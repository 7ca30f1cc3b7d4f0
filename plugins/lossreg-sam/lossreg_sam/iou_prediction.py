"""The loss of a model's IoU predictions for its own masks."""

from __future__ import annotations

from lossreg import losses
from lossreg.authoring import Reduction
from lossreg_sam.masks import CONTRACT, IOU_SUMS, SamLoss, iou_error
from lossreg_segmentation.distributed import Distributed
from lossreg_segmentation.ratios import Formula


@losses.register(
    "iou_prediction",
    aliases=("iou_prediction_loss",),
    tags=("segmentation", "sam", "calibration", "binary", "logits"),
    contract=CONTRACT,
)
class IoUPrediction(SamLoss):
    r"""Squared error of the predicted against the actual IoU of each mask.

        loss = (predicted_iou - IoU(input > threshold, target))^2

    Math:
        L = \left( u - \frac{|A \cap B|}{\max(|A \cup B|,\, 1)} \right)^2
        where $u$ is the predicted IoU of a mask, $A$ the pixels whose logit is above `threshold` (0) and $B$ those of
        the target. Two empty masks have the IoU 0.
    Args:
        threshold: logit above which a pixel belongs to the predicted mask; 0 is p = 1/2.
        ignore_index: target value of the pixels left out of intersection and union; None for none.
        distributed: "global": the mean over the examples of all ranks, uneven and empty batches included; the ranks'
            losses and gradients average to it. With gradients off, as in validation, and with "local": each rank by
            itself.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        input (N, M, H, W) logits; target (N, H, W) or (N, 1, H, W), shared by the M masks; predicted_iou (N, M);
        weight of each pixel, of the target's shape or (N, M, H, W), or None.
        terms: {"iou": (N, M)}.
    Raises:
        ShapeError: sizes differ; nothing is broadcast but the target over M.
    Numerics: float32 or wider; no gradient reaches the logits; union at least 1, so empty on empty has IoU 0.
    Source: Kirillov et al. 2023, section A, "Losses".
    """

    needs = frozenset({*IOU_SUMS, "valid"})

    def __init__(
        self,
        *,
        threshold: float = 0.0,
        ignore_index: int | None = None,
        distributed: Distributed = "local",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(ignore_index=ignore_index, distributed=distributed, reduction=reduction)
        self.threshold = threshold

    def formulas(self) -> dict[str, Formula]:
        """Return the squared error of each mask's predicted IoU."""
        return {"iou": iou_error()}
