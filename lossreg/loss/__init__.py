"""Losses: terms, outputs, and the only code that reduces them."""

from lossreg.loss.base import Loss, LossOutput, Per, Reduction, Term, evaluate

__all__ = ["Loss", "LossOutput", "Per", "Reduction", "Term", "evaluate"]
