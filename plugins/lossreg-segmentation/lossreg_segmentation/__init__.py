"""Segmentation losses for lossreg: pixelwise, overlap, ranking, boundary and topology families, and their mixtures."""

from lossreg_segmentation.boundary import Boundary
from lossreg_segmentation.boundary_dou import BoundaryDoU
from lossreg_segmentation.cldice import CLDice
from lossreg_segmentation.combined import BCEDiceFocal
from lossreg_segmentation.correlation import MCC
from lossreg_segmentation.dense_loss import DenseLoss, Pixels
from lossreg_segmentation.dice_variants import GeneralizedDice, LogCoshDice, SquaredDice
from lossreg_segmentation.distance import signed_distance
from lossreg_segmentation.hard_pixels import OHEMCrossEntropy, TopK
from lossreg_segmentation.hausdorff import HausdorffDT, HausdorffER
from lossreg_segmentation.loss_map import loss_map
from lossreg_segmentation.lovasz import LovaszHinge, LovaszSoftmax
from lossreg_segmentation.mask_loss import MaskLoss, MaskOptions
from lossreg_segmentation.matched import Matched
from lossreg_segmentation.overlap import Dice, FocalTversky, Jaccard, Tversky
from lossreg_segmentation.per_region import PerRegion
from lossreg_segmentation.pixelwise import BCE, CrossEntropy, Focal
from lossreg_segmentation.poly import Poly1
from lossreg_segmentation.ratios import PixelMean, Ratio
from lossreg_segmentation.region_size import RegionSize
from lossreg_segmentation.segmentation_loss import SegmentationLoss, SegmentationOptions
from lossreg_segmentation.skeleton import soft_skeleton
from lossreg_segmentation.statistics import MaskStatistics, mask_statistics
from lossreg_segmentation.target_maps import border_weights, components, hard_skeleton, voronoi
from lossreg_segmentation.unified_focal import AsymmetricFocal, AsymmetricFocalTversky, UnifiedFocal
from lossreg_segmentation.wasserstein_dice import WassersteinDice

__all__ = [
    "BCE",
    "MCC",
    "AsymmetricFocal",
    "AsymmetricFocalTversky",
    "BCEDiceFocal",
    "Boundary",
    "BoundaryDoU",
    "CLDice",
    "CrossEntropy",
    "DenseLoss",
    "Dice",
    "Focal",
    "FocalTversky",
    "GeneralizedDice",
    "HausdorffDT",
    "HausdorffER",
    "Jaccard",
    "LogCoshDice",
    "LovaszHinge",
    "LovaszSoftmax",
    "MaskLoss",
    "MaskOptions",
    "MaskStatistics",
    "Matched",
    "OHEMCrossEntropy",
    "PerRegion",
    "PixelMean",
    "Pixels",
    "Poly1",
    "Ratio",
    "RegionSize",
    "SegmentationLoss",
    "SegmentationOptions",
    "SquaredDice",
    "TopK",
    "Tversky",
    "UnifiedFocal",
    "WassersteinDice",
    "border_weights",
    "components",
    "hard_skeleton",
    "loss_map",
    "mask_statistics",
    "signed_distance",
    "soft_skeleton",
    "voronoi",
]
