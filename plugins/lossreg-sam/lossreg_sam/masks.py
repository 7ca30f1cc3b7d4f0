"""The base of losses on a SAM step: predicted masks, their common target, and the predicted IoU of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from lossreg import Loss, Term
from lossreg.authoring import PerPixel, Plan, Reduction, contract, replaced_by_plan
from lossreg_sam.step_checks import check_step
from lossreg_segmentation.distributed import Distributed, check_distributed, means_over_ranks
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.one_function.lookup import call_of, found_plan, plan_of
from lossreg_segmentation.one_function.tables import INPUTS, Table
from lossreg_segmentation.ratios import Formula, PixelMean, PredictionError, Ratio
from lossreg_segmentation.segmentation_loss import Absent, apply_absent
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.choice import IMPLEMENTATIONS

if TYPE_CHECKING:
    from lossreg_segmentation.one_function.plan import MaskPlan

CONTRACT = contract(
    input="logits of M masks",
    target="mask shared by the M predictions",
    tasks=["binary"],
    implementations=IMPLEMENTATIONS,
)
IOU_SUMS = ("hard_intersection", "hard_union")


class SamLoss(Loss):
    """Base of losses on a SAM step. A subclass lists the sums that it `needs` and turns them into terms.

    Args:
        ignore_index: target value of the pixels left out of the sums; None for none.
        distributed: "global": the mean over the examples of all ranks, uneven and empty batches included; the ranks'
            losses and gradients average to it. With gradients off, as in validation, and with "local": each rank by
            itself.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    """

    needs: ClassVar[frozenset[str]]
    per_pixel: ClassVar[Mapping[str, PerPixel]] = {"weight": "weight"}
    gamma: float = 2.0
    threshold: float = 0.0
    absent: Absent = "score"

    def __init__(self, *, ignore_index: int | None, distributed: Distributed, reduction: Reduction) -> None:
        super().__init__(reduction=reduction)
        check_distributed(distributed, reduction)
        self.ignore_index = ignore_index
        self.distributed = distributed

    def warm_up_inputs(self, input: Tensor, target: Tensor) -> tuple[Any, ...]:
        """Return inputs for `lossreg warm-up` from logits and target."""
        return input, target, input.new_zeros(input.shape[:2])

    def passes(
        self, input: Tensor, target: Tensor, predicted_iou: Tensor, *, weight: Tensor | None = None
    ) -> list[MaskPass]:
        """Return one pass for the sums over each mask, (N, M)."""
        check_step(input, target, predicted_iou, empty_batch=self.distributed == "global")
        needs = self.needs if weight is None else self.needs | {"counted"}
        return [MaskPass(input, target, "sigmoid", needs, self.gamma, self.ignore_index, self.threshold, weight)]

    def terms_from(
        self,
        results: Iterator[MaskStatistics],
        input: Tensor,
        target: Tensor,
        predicted_iou: Tensor,
        *,
        weight: Tensor | None = None,
    ) -> dict[str, Term]:
        """Compute the terms by the formula."""
        terms = self.formula(next(results), predicted_iou)
        return means_over_ranks(terms, input) if self.distributed == "global" else terms

    def formulas(self) -> dict[str, Formula]:
        """Return the terms as formulas of the sums."""
        raise NotImplementedError(f"{type(self).__name__} must define formulas()")

    def formula(self, statistics: MaskStatistics, predicted_iou: Tensor) -> dict[str, Term]:
        """Turn the sums, (N, M) each, into terms."""
        return {name: self._term(one, statistics, predicted_iou) for name, one in self.formulas().items()}

    def plan(self, *inputs: Any, **options: Any) -> Plan | None:
        """Return the plan for a step like this one."""
        if options or len(inputs) != 3:
            inputs = call_of(self, inputs, options, INPUTS)
        return found_plan(self, self._plan, inputs) if inputs else None

    def _plan(
        self, input: Tensor, target: Tensor, predicted_iou: Tensor, weight: Tensor | None = None
    ) -> MaskPlan | None:
        if self.distributed == "global" or not replaced_by_plan(self):
            return None
        (one,) = self.passes(input, target, predicted_iou, weight=weight)
        ignoring = self.ignore_index is not None or weight is not None
        table = Table(self.formulas(), self.absent, ignoring=ignoring)
        return plan_of(one, [table], self)

    def _term(self, one: Formula, statistics: MaskStatistics, predicted_iou: Tensor) -> Term:
        ignoring = self.ignore_index is not None or statistics.counted is not None
        if isinstance(one, PredictionError):
            # Also for an empty mask: its IoU is a label like any other.
            values, count = apply_absent(one.values(statistics, predicted_iou), statistics, "score", ignoring=ignoring)
        else:
            ratio = one.of_masks() if isinstance(one, PixelMean) else one
            values, count = apply_absent(ratio.values(statistics), statistics, self.absent, ignoring=ignoring)
        return Term(values, weight=one.weight, count=count)


def iou_error(weight: float = 1.0, *, power: int = 2) -> PredictionError:
    """Return |predicted IoU - actual IoU|^power. The union is at least 1, so empty on empty has IoU 0."""
    return PredictionError(Ratio({"hard_intersection": 1.0}, {"hard_union": 1.0}), power, weight)
