"""What the signatures of kornia's losses cannot say: ranges, what they take, and what they are for."""

from lossreg_kornia import images, masks, registration
from lossreg_kornia.library import library

__all__ = ["images", "library", "masks", "registration"]
