"""The base of losses on a SAM step: predicted masks, their common target, and the predicted IoU of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from lossreg import Loss, Term
from lossreg.authoring import Reduction, contract
from lossreg.errors import DTypeError, ShapeError
from lossreg_segmentation.distributed import Distributed, check_distributed, means_over_ranks
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.segmentation_loss import Absent, apply_absent, required
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.checks import check_logits
from lossreg_segmentation.statistics.choice import IMPLEMENTATIONS

CONTRACT = contract(
    input="logits of M masks",
    target="mask shared by the M predictions",
    tasks=["binary"],
    implementations=IMPLEMENTATIONS,
)
IOU_SUMS = ("hard_intersection", "hard_union")


class SamLoss(Loss):
    """Base of losses on a SAM step. A subclass lists the sums that it `needs` and turns them into terms.

    Args:
        ignore_index: target value of the pixels left out of the sums; None for none.
        distributed: "global": the mean over the examples of all ranks, uneven and empty batches included; the ranks'
            losses and gradients average to it. With gradients off, as in validation, and with "local": each rank by
            itself.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    """

    needs: ClassVar[frozenset[str]]
    gamma: float = 2.0
    threshold: float = 0.0

    def __init__(self, *, ignore_index: int | None, distributed: Distributed, reduction: Reduction) -> None:
        super().__init__(reduction=reduction)
        check_distributed(distributed, reduction)
        self.ignore_index = ignore_index
        self.distributed = distributed

    def passes(self, input: Tensor, target: Tensor, predicted_iou: Tensor) -> list[MaskPass]:
        """Return one pass for the sums over each mask, (N, M)."""
        check_step(input, target, predicted_iou, empty_batch=self.distributed == "global")
        return [MaskPass(input, target, "sigmoid", self.needs, self.gamma, self.ignore_index, self.threshold)]

    def terms_from(
        self, results: Iterator[MaskStatistics], input: Tensor, target: Tensor, predicted_iou: Tensor
    ) -> dict[str, Term]:
        """Compute the terms by the formula."""
        terms = self.formula(next(results), predicted_iou)
        return means_over_ranks(terms, input) if self.distributed == "global" else terms

    def formula(self, statistics: MaskStatistics, predicted_iou: Tensor) -> dict[str, Term]:
        """Turn the sums, (N, M) each, into terms."""
        raise NotImplementedError(f"{type(self).__name__} must define formula(statistics, predicted_iou)")

    def apply_policy(self, values: Tensor, statistics: MaskStatistics, absent: Absent) -> tuple[Tensor, Tensor | None]:
        """Apply the policy for masks without target pixels to values (N, M); return them and the count of each."""
        return apply_absent(values, statistics, absent, ignoring=self.ignore_index is not None)


def check_step(input: Tensor, target: Tensor, predicted_iou: Tensor, *, empty_batch: bool) -> None:
    """Check for M masks, one target for all of them, and one predicted IoU for each."""
    for role, given in (("input", input), ("target", target), ("predicted_iou", predicted_iou)):
        if not isinstance(given, Tensor):
            raise DTypeError(f"{role} must be a tensor, got {type(given).__name__}")
    check_logits(input, target, empty_batch=empty_batch)
    if input.ndim != 4:
        raise ShapeError(f"input has shape {tuple(input.shape)}, expected (N, M, H, W) logits")
    n, _, *size = input.shape
    if target.shape not in ((n, *size), (n, 1, *size)):
        # M targets for M masks would be another loss: raise rather than guess.
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, so target must have shape {(n, *size)} or {(n, 1, *size)}, one mask"
            f" that the predictions share, got {tuple(target.shape)}"
        )
    if predicted_iou.shape != input.shape[:2]:
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, so predicted_iou must have shape {tuple(input.shape[:2])},"
            f" got {tuple(predicted_iou.shape)}"
        )
    if not predicted_iou.is_floating_point():
        raise DTypeError(f"predicted_iou must be a floating tensor, got {predicted_iou.dtype}")


def iou_error(statistics: MaskStatistics, predicted_iou: Tensor) -> Tensor:
    """Return (predicted IoU - actual IoU)^2, (N, M)."""
    return iou_difference(statistics, predicted_iou).square()


def iou_difference(statistics: MaskStatistics, predicted_iou: Tensor) -> Tensor:
    """Return predicted IoU - actual IoU, (N, M). The union is at least 1, so empty on empty has IoU 0."""
    intersection, union = required(statistics, *IOU_SUMS)
    return predicted_iou.to(union.dtype) - intersection / union.clamp_min(1)
