"""Losses of Segment Anything for lossreg."""

from lossreg_sam.iou_prediction import IoUPrediction
from lossreg_sam.sam import SAM

__all__ = ["SAM", "IoUPrediction"]
