"""What the signatures of MONAI's losses cannot say: ranges, what they take, and what they are for."""

from lossreg_monai import images, masks, wrappers
from lossreg_monai.library import library

__all__ = ["images", "library", "masks", "wrappers"]
