"""The base of losses that are formulas over sums: from tensors to sums, and from sums to terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from lossreg import Term
from lossreg.authoring import Per, contract
from lossreg_segmentation.distributed import (
    Distributed,
    check_distributed,
    means_over_ranks,
    sums_over_ranks,
)
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.segmentation_loss import SegmentationLoss, SegmentationOptions, required, weights_of_classes
from lossreg_segmentation.statistics import NEGATIVES, Activation, MaskStatistics
from lossreg_segmentation.statistics.choice import IMPLEMENTATIONS

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

    Args:
        batch: sum over the batch before the formula, as if it were one large image.
        distributed: "global" treats the batches of all ranks as one batch: under DDP, which averages gradients, uneven
            and empty batches give the gradient of the whole batch. With batch=True every rank returns the loss of the
            whole batch; otherwise the mean over ranks is that loss. One all-reduce of less than 4 KB. With gradients
            off, as in validation, and with "local", each rank has the loss of its own batch.
        **options: the options of `SegmentationLoss`.
    """

    needs: ClassVar[frozenset[str]]
    gamma: float = 2.0

    def __init__(
        self, *, batch: bool = False, distributed: Distributed = "local", **options: Unpack[SegmentationOptions]
    ) -> None:
        super().__init__(**options)
        check_distributed(distributed, self.reduction)
        self.batch = batch
        self.distributed = distributed

    def passes(self, input: Tensor, target: Tensor) -> list[MaskPass]:
        """Return the pass that computes the sums of logits (N, C, *) and target for the formula."""
        task = self.task_of(input, target)
        multiclass = task == "multiclass"
        needs = self.needs - NEGATIVES if multiclass else self.needs
        if self.absent != "score" or self.class_weight is not None:
            needs |= {"actual"}
        if self.absent == "false_positives":
            needs |= {"predicted", "valid"}
        if self.ignore_index is not None:
            needs |= {"valid"}
        activation: Activation = "softmax" if multiclass else "sigmoid"
        return [MaskPass(input, target, activation, needs, self.gamma, self.ignore_index)]

    def terms_from(self, results: Iterator[MaskStatistics], input: Tensor, target: Tensor) -> dict[str, Term]:
        """Compute the terms by the formula."""
        shared = self.distributed == "global"
        statistics, task = next(results), self.task_of(input, target)
        if self.batch:
            statistics = statistics.over_batch()
            return self.formula(sums_over_ranks(statistics) if shared else statistics, task)
        terms = self.formula(statistics, task)
        return means_over_ranks(terms, input) if shared else terms

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Turn the sums, (B, C) each, into terms."""
        raise NotImplementedError(f"{type(self).__name__} must define formula(statistics, task)")

    def pixel_term(self, summed: Tensor, statistics: MaskStatistics, weight: float = 1.0) -> Term:
        """Return sums (B, C) over the pixels of each softmax class as a term: the mean over pixels, class-weighted."""
        self.no_policy_for_absent_classes()
        per: Per = "batch" if self.batch else "example"
        if self.class_weight is None:
            (valid,) = required(statistics, "valid")
            return Term(summed.sum(1) / valid.amax(1).clamp_min(1), per, weight)
        (actual,) = required(statistics, "actual")
        weights = weights_of_classes(self.class_weight, summed)
        pixels = (weights * actual).sum(1)
        return Term((weights * summed).sum(1) / torch.where(pixels > 0, pixels, 1.0), per, weight)
