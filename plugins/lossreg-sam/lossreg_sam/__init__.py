"""Losses of Segment Anything for lossreg."""

from lossreg_sam.iou_prediction import IoUPrediction
from lossreg_sam.sam import SAM
from lossreg_sam.sam2 import SAM2
from lossreg_sam.spatial_relevance import SpatialRelevance
from lossreg_sam.text_region_contrast import TextRegionContrast

__all__ = ["SAM", "SAM2", "IoUPrediction", "SpatialRelevance", "TextRegionContrast"]
