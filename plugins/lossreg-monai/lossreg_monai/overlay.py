"""Metadata that the signatures of MONAI's losses do not have: ranges, inputs and tags."""

from lossreg_monai import images, masks, wrappers
from lossreg_monai.library import library

__all__ = ["images", "library", "masks", "wrappers"]
