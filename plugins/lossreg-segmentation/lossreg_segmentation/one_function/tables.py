"""The table of a loss: its formulas, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from lossreg_segmentation.ratios import Formula, Ratio
from lossreg_segmentation.segmentation_loss import Absent, check_absent

INPUTS = ("input", "target", "predicted_iou")  # of a call, the last one for errors of predicted numbers
GIVEN = (*INPUTS, "weight")  # the tensors of a call


@dataclass(frozen=True, eq=False)
class Table:
    """The terms of a loss by name, with one policy.

    Args:
        absent: value of each term for a class without target pixels, as in `SegmentationLoss`.
        ignoring: True if masks may be ignored as a whole; they are no part of the mean over classes.
        class_weight: one weight per class, on the CPU; None for equal weights.
        batch: sum over the batch before the formula.
        pixels: the sum by which a mean over pixels divides: "valid", or "counted" for the number of weighted ones.
    """

    formulas: Mapping[str, Formula]
    absent: Absent = "score"
    ignoring: bool = False
    class_weight: Tensor | None = None
    batch: bool = False
    pixels: str = "valid"

    def __post_init__(self) -> None:
        check_absent(self.absent)

    def tensors(self) -> list[Tensor]:
        """Return the factors and weights that are tensors."""
        found = [
            factor for formula in self.formulas.values() for factor in formula.factors if isinstance(factor, Tensor)
        ]
        return found if self.class_weight is None else [*found, self.class_weight]

    def learns(self) -> bool:
        """Return True if a number of a formula is a tensor, which may have a gradient."""
        found = [number for formula in self.formulas.values() for number in vars(formula).values()]
        inner = [number for each in found if isinstance(each, Ratio) for number in vars(each).values()]
        return any(isinstance(number, Tensor) for number in (*found, *inner))

    def within(self, name: str, factor: float, *, alone: bool) -> Table:
        """Return the table as a part of a sum of losses, with the weights multiplied by the factor of the loss.

        Args:
            alone: True if the loss has one term, which takes the loss's name; others are named name.term.
        """
        formulas = {
            name if alone else f"{name}.{key}": replace(formula, weight=_product(factor, formula.weight))
            for key, formula in self.formulas.items()
        }
        return replace(self, formulas=formulas)


def _product(factor: float, weight: float) -> float:
    """Multiply weights; 0, of a term that is only logged, stays exactly 0."""
    return 0.0 if 0 in (factor, weight) else factor * weight
