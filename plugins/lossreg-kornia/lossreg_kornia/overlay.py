"""Metadata that the signatures of kornia's losses do not have: ranges, inputs and tags."""

from lossreg_kornia import images, masks, registration
from lossreg_kornia.library import library

__all__ = ["images", "library", "masks", "registration"]
