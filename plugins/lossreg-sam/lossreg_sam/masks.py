"""The three tensors of a SAM step: predicted masks, the target they share, and the IoU the model gives itself."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from lossreg.contract import contract
from lossreg.errors import DTypeError, ShapeError
from lossreg_segmentation.mask_loss import required
from lossreg_segmentation.mask_pass import MaskPass
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


def sam_pass(
    input: Tensor,
    target: Tensor,
    predicted_iou: Tensor,
    needs: Iterable[str],
    *,
    gamma: float = 2.0,
    ignore_index: int | None,
    threshold: float = 0.0,
    empty_batch: bool = False,
) -> MaskPass:
    """Check the three tensors; the sums over each of the masks, (N, M)."""
    for role, given in (("input", input), ("target", target), ("predicted_iou", predicted_iou)):
        if not isinstance(given, Tensor):
            raise DTypeError(f"{role} must be a tensor, got {type(given).__name__}")
    check_logits(input, empty_batch=empty_batch)
    if input.ndim != 4:
        raise ShapeError(f"input has shape {tuple(input.shape)}, expected (N, M, H, W) logits")
    n, _, *size = input.shape
    if target.shape not in ((n, *size), (n, 1, *size)):
        # M targets for M masks would be another loss: say so rather than guess.
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
    return MaskPass(input, target, "sigmoid", frozenset(needs), gamma, ignore_index, threshold)


def iou_error(statistics: MaskStatistics, predicted_iou: Tensor) -> Tensor:
    """(predicted IoU - actual IoU)^2, (N, M). The union is at least 1, so empty on empty has IoU 0."""
    intersection, union = required(statistics, *IOU_SUMS)
    return (predicted_iou.to(union.dtype) - intersection / union.clamp_min(1)).square()
