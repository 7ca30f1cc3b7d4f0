"""Losses: terms, outputs, and the only code that reduces them."""

from lossreg.loss.base import Loss, evaluate, name_of, scalar
from lossreg.loss.output import LossOutput, Per, Reduction, Term
from lossreg.loss.reduction import per_example

__all__ = [
    "Loss",
    "LossOutput",
    "Per",
    "Reduction",
    "Term",
    "evaluate",
    "name_of",
    "per_example",
    "scalar",
]
