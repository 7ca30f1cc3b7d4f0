"""Metadata that the signatures of pytorch-metric-learning do not have, one module for each kind of class."""

from lossreg_pml import class_losses, pair_losses, parts, ranking_losses, wrappers
from lossreg_pml.library import library

__all__ = ["class_losses", "library", "pair_losses", "parts", "ranking_losses", "wrappers"]
