"""What every mask loss shares: the task, the options, and the way from tensors to sums to a term."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypedDict

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Loss, Term
from lossreg.contract import contract
from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg.loss import Per, Reduction
from lossreg_segmentation.distributed import (
    Distributed,
    check_distributed,
    means_over_ranks,
    sums_over_ranks,
)
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.statistics import NEGATIVES, Activation, MaskStatistics
from lossreg_segmentation.statistics.checks import check_logits
from lossreg_segmentation.statistics.choice import IMPLEMENTATIONS

Task = Literal["auto", "binary", "multilabel", "multiclass"]
Absent = Literal["score", "ignore", "zero", "false_positives"]
ClassWeights = Annotated[Sequence[Annotated[float, Field(ge=0)]], Field(min_length=2)]

CONTRACT = contract(
    input="logits",
    target="mask or class index",
    tasks=["binary", "multilabel", "multiclass"],
    implementations=IMPLEMENTATIONS,
)
INDEPENDENT_CONTRACT = contract(
    input="logits", target="mask", tasks=["binary", "multilabel"], implementations=IMPLEMENTATIONS
)


class MaskOptions(TypedDict, total=False):
    """The shared options, for the signatures of subclasses. Defaults and meaning: `MaskLoss`."""

    task: Task
    ignore_index: int | None
    class_weight: ClassWeights | None
    batch: bool
    absent: Absent
    distributed: Distributed
    reduction: Reduction


class MaskLoss(Loss):
    """Base of losses on masks. A subclass names the sums that it `needs` and turns them into terms.

    Args:
        task: "binary" (C = 1), "multilabel" (C independent masks, sigmoid), "multiclass" (softmax over C), or "auto":
            binary for C = 1, multiclass for integer targets (N, *); anything else is an error that names the choice.
        ignore_index: target value of the pixels that leave both the sums and the counts; None for none.
        class_weight: one weight >= 0 per class, of a weighted mean over classes (over pixels in multiclass
            cross-entropy and focal); at least two classes. None weighs all alike.
        batch: sum over the batch before the formula, as if it were one large image.
        absent: value of each term for a class without target pixels in its example. "score": what the formula gives.
            "ignore": the class leaves the mean over classes. "zero": 0. "false_positives": the mean of p, whose
            gradient does not vanish.
        distributed: "global" treats the batches of all ranks as one: under DDP, which averages gradients, uneven and
            empty batches give the gradient of the whole batch. With batch=True every rank has its loss; otherwise the
            ranks' losses have it as their mean. One all-reduce of less than 4 KB. "local": each rank by itself.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    """

    needs: ClassVar[frozenset[str]]
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multilabel", "multiclass")
    gamma: float = 2.0
    class_weight: Tensor | None

    def __init__(
        self,
        *,
        task: Task = "auto",
        ignore_index: int | None = None,
        class_weight: ClassWeights | None = None,
        batch: bool = False,
        absent: Absent = "score",
        distributed: Distributed = "local",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        check_distributed(distributed, reduction)
        if class_weight is not None and not any(class_weight):
            raise ValueError("class_weight is zero for every class; at least one class must weigh")
        self.task = task
        self.ignore_index = ignore_index
        self.batch = batch
        self.absent = absent
        self.distributed = distributed
        self.class_values("class_weight", class_weight)

    def class_values(self, name: str, values: Sequence[float] | float | None) -> None:
        """Keep numbers per class as a buffer: moved by .to(), absent from checkpoints."""
        tensor = None if values is None else torch.tensor(values, dtype=torch.float32)
        self.register_buffer(name, tensor, persistent=False)

    def passes(self, input: Tensor, target: Tensor) -> list[MaskPass]:
        """The sums over logits (N, C, *) and their target that the formula needs."""
        check_logits(input, empty_batch=self.distributed == "global")
        if not isinstance(target, Tensor):
            raise DTypeError(f"target must be a tensor, got {type(target).__name__}")
        multiclass = self.task_of(input, target) == "multiclass"
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
        """The terms, by the formula."""
        statistics, task = next(results), self.task_of(input, target)
        shared = self.distributed == "global"
        if self.batch:
            statistics = statistics.over_batch()
            return self.formula(sums_over_ranks(statistics) if shared else statistics, task)
        terms = self.formula(statistics, task)
        return means_over_ranks(terms, input) if shared else terms

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Turn the sums, (B, C) each, into terms."""
        raise NotImplementedError(f"{type(self).__name__} must define formula(statistics, task)")

    def class_term(self, values: Tensor, statistics: MaskStatistics, weight: float = 1.0) -> Term:
        """Values (B, C) as a term: the policy for absent classes, class weights, and no class that is all ignored."""
        values, count = apply_absent(values, statistics, self.absent, ignoring=self.ignore_index is not None)
        if self.class_weight is not None:
            weights = self._weights(self.class_weight, values)
            count = weights.expand_as(values) if count is None else count * weights
        return Term(values, "batch" if self.batch else "pair", weight, count)

    def pixel_term(self, summed: Tensor, statistics: MaskStatistics, weight: float = 1.0) -> Term:
        """Sums (B, C) over the pixels of each softmax class as a term: their mean over pixels, weighted by class."""
        if self.absent != "score":
            raise InputError(
                f"absent={self.absent!r} has no meaning for softmax {type(self).__name__}: a class without pixels adds"
                " nothing to it; leave absent='score'"
            )
        per: Per = "batch" if self.batch else "example"
        if self.class_weight is None:
            (valid,) = required(statistics, "valid")
            return Term(summed.sum(1) / valid.amax(1).clamp_min(1), per, weight)
        (actual,) = required(statistics, "actual")
        weights = self._weights(self.class_weight, summed)
        pixels = (weights * actual).sum(1)
        return Term((weights * summed).sum(1) / torch.where(pixels > 0, pixels, 1.0), per, weight)

    @staticmethod
    def _weights(class_weight: Tensor, values: Tensor) -> Tensor:
        """The weights, one for each class of `values` (B, C), in its dtype."""
        classes = values.shape[1]
        if len(class_weight) != classes:
            raise ShapeError(
                f"class_weight has {len(class_weight)} weights, input has {classes} classes; give one per class"
                + (" (one class leaves nothing to weigh: leave it out)" if classes == 1 else "")
            )
        return class_weight.to(values)

    def task_of(self, input: Tensor, target: Tensor) -> str:
        """The task that was asked for or, where only one fits, inferred."""
        task = self.task if self.task != "auto" else infer_task(input, target)
        if task not in self.tasks:
            raise InputError(
                f"{type(self).__name__} is for {' and '.join(self.tasks)}, got a {task} target; for classes that"
                " exclude each other use cross_entropy, focal or an overlap loss"
            )
        classes = input.shape[1]
        if task == "binary" and classes != 1:
            raise ShapeError(
                f"task='binary' takes one channel, got C={classes}; use task='multilabel' for independent masks,"
                " 'multiclass' for classes that exclude each other"
            )
        if task == "multiclass" and classes == 1:
            raise ShapeError("task='multiclass' with one channel is constant 1 after softmax; use task='binary'")
        if target.shape != input.shape and target.shape != (input.shape[0], *input.shape[2:]):
            raise ShapeError(
                f"input has shape {tuple(input.shape)}, so target must have that shape or"
                f" {(input.shape[0], *input.shape[2:])}, got {tuple(target.shape)}; nothing is broadcast"
            )
        if task == "multilabel" and target.ndim < input.ndim and classes != 1:
            raise ShapeError(
                f"task='multilabel' takes one mask per channel, target {tuple(input.shape)}, got {tuple(target.shape)}"
            )
        return task


def apply_absent(
    values: Tensor, statistics: MaskStatistics, absent: Absent, *, ignoring: bool
) -> tuple[Tensor, Tensor | None]:
    """Values (B, C) under the policy for masks without target pixels, and how much each counts; None: all alike.

    A mask that is all ignored counts under no policy; `ignoring` tells whether there can be one.
    """
    count = required(statistics, "valid")[0] > 0 if ignoring else None
    if absent != "score":
        empty = required(statistics, "actual")[0] == 0
        if absent == "ignore":
            count = ~empty if count is None else count & ~empty
        elif absent == "zero":
            values = torch.where(empty, 0.0, values)
        elif absent == "false_positives":
            predicted, valid = required(statistics, "predicted", "valid")
            values = torch.where(empty, predicted / valid.clamp_min(1), values)
        else:
            raise InputError(f"absent is 'score', 'ignore', 'zero' or 'false_positives', got {absent!r}")
    return values, None if count is None else count.to(values.dtype)


def infer_task(input: Tensor, target: Tensor) -> str:
    """The task, if shapes and types leave only one."""
    if input.shape[1] == 1:
        return "binary"
    if target.ndim == input.ndim:
        raise InputError(
            f"a target of shape {tuple(target.shape)} may hold independent masks or one-hot classes:"
            " set task='multilabel' (sigmoid) or task='multiclass' (softmax)"
        )
    return "multiclass"


def required(statistics: MaskStatistics, *names: str) -> tuple[Tensor, ...]:
    """The named sums, which the loss must have listed in `needs`."""
    found: list[Any] = [getattr(statistics, name) for name in names]
    if missing := [name for name, field in zip(names, found, strict=True) if field is None]:
        raise ValueError(f"statistics {missing} are missing; name them in `needs`")
    return tuple(found)
