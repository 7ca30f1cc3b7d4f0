"""The base of losses that are formulas over sums: from tensors to sums, and from sums to terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import torch
from torch import Tensor

from lossreg import Term
from lossreg.authoring import Per, PerPixel, Plan, contract, replaced_by_plan
from lossreg.errors import InputError
from lossreg_segmentation.distributed import (
    Distributed,
    check_distributed,
    means_over_ranks,
    sums_over_ranks,
)
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.one_function.lookup import call_of, found_plan, plan_of
from lossreg_segmentation.one_function.tables import Table
from lossreg_segmentation.ratios import Formula, PixelMean, PredictionError, linear
from lossreg_segmentation.segmentation_loss import (
    SegmentationLoss,
    SegmentationOptions,
    required,
    share,
)
from lossreg_segmentation.statistics import NEGATIVES, Activation, MaskStatistics
from lossreg_segmentation.statistics.choice import IMPLEMENTATIONS
from lossreg_segmentation.values_by_class import ValuesByClass, count_pixels, uncounted

if TYPE_CHECKING:
    from lossreg_segmentation.one_function.plan import MaskPlan

CONTRACT = contract(
    input="logits",
    target="mask or class index",
    tasks=["binary", "multilabel", "multiclass"],
    implementations=IMPLEMENTATIONS,
)
INDEPENDENT_CONTRACT = contract(
    input="logits", target="mask", tasks=["binary", "multilabel"], implementations=IMPLEMENTATIONS
)


class MaskOptions(SegmentationOptions, total=False):
    """Options shared by the losses over sums. `MaskLoss` documents them and their defaults."""

    batch: bool
    distributed: Distributed


class MaskLoss(SegmentationLoss):
    """Base of losses over sums. A subclass lists the sums that it `needs` and turns them into terms.

    A call may give each pixel a weight >= 0: `loss(input, target, weight=w)`, w of shape (N, C, *) or (N, 1, *).

    Args:
        batch: sum over the batch before the formula, as if it were one large image.
        distributed: "global" treats the batches of all ranks as one batch: under DDP, which averages gradients, uneven
            and empty batches give the gradient of the whole batch. With batch=True every rank returns the loss of the
            whole batch; otherwise the mean over ranks is that loss. One all-reduce of less than 4 KB. With gradients
            off, as in validation, and with "local", each rank has the loss of its own batch.
        **options: the options of `SegmentationLoss`.
    """

    needs: frozenset[str]
    positional: ClassVar[bool] = False  # True for losses that also read the positions of pixels
    per_pixel: ClassVar[Mapping[str, PerPixel]] = {"weight": "weight"}
    gamma: float = 2.0

    def __init__(
        self, *, batch: bool = False, distributed: Distributed = "local", **options: Unpack[SegmentationOptions]
    ) -> None:
        super().__init__(**options)
        check_distributed(distributed, self.reduction)
        self.batch = batch
        self.distributed = distributed

    def passes(self, input: Tensor, target: Tensor, *, weight: Tensor | None = None) -> list[MaskPass]:
        """Return the pass that computes the sums of logits (N, C, *) and target for the formula."""
        task = self.task_of(input, target)
        multiclass = task == "multiclass"
        needs = self.needs - NEGATIVES if multiclass else self.needs
        if self.absent != "score" or self.weighs_classes:
            needs |= {"actual"}
        if self.absent == "false_positives":
            needs |= {"predicted", "valid"}
        if self.ignore_index is not None or self.of_all_ranks:
            needs |= {"valid"}
        if weight is not None:
            needs |= {"valid", "counted"}
        activation: Activation = "softmax" if multiclass else "sigmoid"
        return [MaskPass(input, target, activation, needs, self.gamma, self.ignore_index, weight=weight)]

    def terms_from(
        self, results: Iterator[MaskStatistics], input: Tensor, target: Tensor, *, weight: Tensor | None = None
    ) -> dict[str, Term]:
        """Compute the terms by the formula."""
        shared = self.distributed == "global"
        statistics, task = next(results), self.task_of(input, target)
        if self.batch:
            statistics = statistics.over_batch()
            terms = self.formula(sums_over_ranks(statistics) if shared else statistics, task)
        else:
            terms = self.formula(statistics, task)
            terms = means_over_ranks(terms, input) if shared else terms
        if task == "multiclass":
            one = MaskPass(input, target, "softmax", self.needs, ignore_index=self.ignore_index, weight=weight)
            count_pixels(terms.values(), one, batch=self.batch)
        return terms

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the terms as formulas of the sums."""
        raise NotImplementedError(
            f"{type(self).__name__} must define formulas(task, classes) or formula(statistics, task)"
        )

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Turn the sums, (B, C) each, into terms; for a subclass whose terms are not ratios."""
        classes = next(field.shape[1] for field in statistics if field is not None)
        return {name: self._term(one, statistics, task) for name, one in self.formulas(task, classes).items()}

    def plan(self, *inputs: Any, **options: Any) -> Plan | None:
        """Return the plan for logits and target like these."""
        if options or len(inputs) != 2:
            inputs = call_of(self, inputs, options, ("input", "target"))
        return found_plan(self, self._plan, inputs) if inputs else None

    def _plan(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> MaskPlan | None:
        if self.distributed == "global" or 0 in input.shape[:1] or not replaced_by_plan(self):
            return None
        options = {} if weight is None else {"weight": weight}
        passes, task = self.passes(input, target, **options), self.task_of(input, target)
        formulas = self.formulas(task, input.shape[1])
        softmax = task == "multiclass"
        if softmax and self.absent != "score" and any(isinstance(one, PixelMean) for one in formulas.values()):
            return None  # its error comes from the terms
        if softmax and self.weighs_classes and self.mean_over == "pixels":
            return None  # tables divide by the sum of the weights
        if len(passes) > 1:
            return None
        weights = self.class_weights(torch.empty(1, input.shape[1], dtype=torch.float64, device="cpu"))
        ignoring = self.ignore_index is not None or weight is not None
        pixels = "counted" if weight is not None and self.mean_over == "pixels" else "valid"
        table = Table(formulas, self.absent, ignoring, weights, self.batch, pixels)
        return plan_of(passes[0], [table], self)

    def _term(self, formula: Formula, statistics: MaskStatistics, task: str) -> Term:
        if isinstance(formula, PixelMean):
            if task == "multiclass":
                return self.pixel_term(linear(formula.summed, statistics), statistics, formula.weight)
            values = share(linear(formula.summed, statistics), self.pixels(statistics))
            return self.class_term(values, statistics, formula.weight)
        if isinstance(formula, PredictionError):
            raise TypeError(f"{type(self).__name__} has no predicted numbers for a PredictionError")
        return self.class_term(formula.values(statistics), statistics, formula.weight)

    def pixel_term(self, summed: Tensor, statistics: MaskStatistics, weight: float = 1.0) -> Term:
        """Return sums (B, C) over the pixels of each softmax class as a term: the mean over pixels, class-weighted."""
        self.no_policy_for_absent_classes()
        per: Per = "batch" if self.batch else "example"
        weights = self.class_weights(summed)
        pixels = uncounted if statistics.actual is None else statistics.actual
        by_class: ValuesByClass | None = ValuesByClass(summed.detach(), weights, pixels)
        if pixels is uncounted and self.batch and self.distributed == "global":
            by_class = None  # the sums may be those of all ranks, and a target has only its own pixels
        if weights is None:
            values = share(summed.sum(1), self.pixels(statistics).amax(1))
            return Term(values, per, weight, by_class=by_class)
        (actual,) = required(statistics, "actual")
        pixels = (weights * actual).sum(1)
        # Smoothed labels have a loss at classes of any weight: without a pixel of a weight above 0, it is none.
        summed = torch.where(pixels > 0, (weights * summed).sum(1), 0.0)
        whole = pixels if self.mean_over == "weights" else self._counted_pixels(actual, statistics)
        return Term(share(summed, whole), per, weight, by_class=by_class)

    def _counted_pixels(self, actual: Tensor, statistics: MaskStatistics) -> Tensor:
        """Return the number of pixels of the softmax classes that are not left out, (B,)."""
        if not self.leaves_out:
            return self.pixels(statistics).amax(1)
        if statistics.counted is not None:  # the number of pixels of all classes
            raise InputError(
                "mean_over='pixels' with weight= does not know the number of pixels of some classes: leave out"
                " background= and classes=, and set the weight to 0 at the pixels of the classes that do not count"
            )
        return (self.counted_classes(actual) * actual).sum(1)
