"""Segmentation losses for lossreg: overlap and pixelwise families and their mixtures."""

from lossreg_segmentation.combined import BCEDiceFocal
from lossreg_segmentation.dense_loss import DenseLoss, Pixels
from lossreg_segmentation.mask_loss import MaskLoss, MaskOptions
from lossreg_segmentation.overlap import Dice, FocalTversky, Jaccard, Tversky
from lossreg_segmentation.pixelwise import BCE, CrossEntropy, Focal
from lossreg_segmentation.segmentation_loss import SegmentationLoss, SegmentationOptions
from lossreg_segmentation.statistics import MaskStatistics, mask_statistics

__all__ = [
    "BCE",
    "BCEDiceFocal",
    "CrossEntropy",
    "DenseLoss",
    "Dice",
    "Focal",
    "FocalTversky",
    "Jaccard",
    "MaskLoss",
    "MaskOptions",
    "MaskStatistics",
    "Pixels",
    "SegmentationLoss",
    "SegmentationOptions",
    "Tversky",
    "mask_statistics",
]
