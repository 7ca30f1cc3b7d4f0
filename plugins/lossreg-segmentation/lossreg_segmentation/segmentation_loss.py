"""The base of all losses of logits and masks or classes: the task, shared options, and terms from values per class."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypedDict, get_args

import torch
from torch import Tensor

from lossreg import Term
from lossreg.authoring import Reduction
from lossreg.errors import InputError
from lossreg_segmentation.class_weights import Classes, ClassLoss, ClassWeights
from lossreg_segmentation.distributed import Distributed
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.checks import check_logits
from lossreg_segmentation.tasks import Task, check_task, task_of
from lossreg_segmentation.values_by_class import ValuesByClass

Absent = Literal["score", "ignore", "zero", "false_positives"]
MeanOver = Literal["weights", "pixels"]


class SegmentationOptions(TypedDict, total=False):
    """Shared options, for the signatures of subclasses. `SegmentationLoss` documents them and their defaults."""

    task: Task
    ignore_index: int | None
    class_weight: ClassWeights | None
    background: bool
    classes: Classes | None
    absent: Absent
    mean_over: MeanOver
    reduction: Reduction


class SegmentationLoss(ClassLoss):
    """Base of losses on logits (N, C, *) and their target.

    Args:
        task: "binary" (C = 1), "multilabel" (C independent masks, sigmoid), "multiclass" (softmax over C), "shared"
            (C predictions of one mask (N, *) or (N, 1, *), sigmoid), or "auto": binary for C = 1, multiclass for
            integer targets (N, *); anything else is an error that lists the choices.
        ignore_index: target value of pixels that are excluded from the sums and the counts; None for none.
        class_weight: one weight >= 0 per class, of a weighted mean over classes (over pixels in multiclass
            cross-entropy and focal); at least two classes. None: all have the same weight.
        background: False leaves class 0 out, as a class_weight of 0 does: out of the mean over classes, and its pixels
            out of a mean over pixels. nnU-Net leaves it out of Dice but not of cross-entropy: there, set it for dice.
        classes: indices of the classes that count, at least one; the others are left out. None: all of them.
        absent: value of each term for a class without target pixels in its example. "score": the value of the formula.
            "ignore": the class is excluded from the mean over classes. "zero": 0. "false_positives": the mean of p,
            whose gradient does not vanish.
        mean_over: divisor of a mean over pixels: "weights", the sum of their weights, of each class or of each pixel;
            or "pixels", the number of those that are not left out.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    """

    tasks: ClassVar[tuple[str, ...]] = ("binary", "multilabel", "multiclass")
    batch: bool = False
    distributed: Distributed = "local"
    means_pixels: ClassVar[bool] = True  # False for losses without a mean over pixels
    has_absent_classes: ClassVar[bool] = True  # False for losses to which a softmax class without pixels adds nothing

    def __init__(
        self,
        *,
        task: Task = "auto",
        ignore_index: int | None = None,
        class_weight: ClassWeights | None = None,
        background: bool = True,
        classes: Classes | None = None,
        absent: Absent = "score",
        mean_over: MeanOver = "weights",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        check_task(task, name=type(self).__name__, allowed=self.tasks)
        self.task = task
        self.ignore_index = ignore_index
        self.absent = absent
        self.mean_over = self._checked_mean(mean_over)
        self.choose_classes(class_weight, background, classes, task)
        if task == "multiclass" and not self.has_absent_classes:
            self.no_policy_for_absent_classes()

    def task_of(self, input: Tensor, target: Tensor) -> str:
        """Return the task of these tensors; raise an error if they fit no task of this loss."""
        check_logits(input, target, empty_batch=self.distributed == "global")  # other ranks may have examples
        return task_of(input, target, self.task, name=type(self).__name__, allowed=self.tasks)

    def class_term(self, values: Tensor, statistics: MaskStatistics, weight: float = 1.0) -> Term:
        """Return values (B, C) as a term: apply the policy for absent classes and the weights, drop ignored masks."""
        values, count = apply_absent(values, statistics, self.absent, ignoring=self.ignoring(statistics))
        weights = self.class_weights(values)
        if weights is not None:
            count = weights.expand_as(values) if count is None else count * weights
        if not self.batch:
            return Term(values, "pair", weight, count)
        return Term(values, "batch", weight, count, by_class=ValuesByClass(values.detach(), count))

    @property
    def of_all_ranks(self) -> bool:
        """Return True if the loss is of the whole batch of all ranks. Perhaps no rank has an example."""
        return self.batch and self.distributed == "global"

    def ignoring(self, statistics: MaskStatistics) -> bool:
        """Return True if a mask may have no pixel: all are ignored or have weights of 0, or no rank has an example."""
        if self.of_all_ranks:
            return True
        return self.ignore_index is not None or statistics.counted is not None

    def _checked_mean(self, mean_over: MeanOver) -> MeanOver:
        if mean_over not in get_args(MeanOver):
            raise InputError(f"mean_over is 'weights' or 'pixels', got {mean_over!r}")
        if mean_over == "pixels" and not self.means_pixels:
            name = type(self).__name__
            raise InputError(f"mean_over has no meaning for {name}, which has no mean over pixels; leave it out")
        return mean_over

    def pixels(self, statistics: MaskStatistics) -> Tensor:
        """Return the divisor of a mean over the pixels of each mask, (B, C): their weight or their number."""
        if self.mean_over == "pixels" and statistics.counted is not None:
            return statistics.counted
        (valid,) = required(statistics, "valid")
        return valid

    def no_policy_for_absent_classes(self) -> None:
        """Raise InputError if `absent` is set, for losses to which a class without pixels adds nothing."""
        if self.absent != "score":
            raise InputError(
                f"absent={self.absent!r} has no meaning for softmax {type(self).__name__}: a class without pixels adds"
                " nothing to it; leave absent='score'"
            )


def check_absent(absent: str) -> None:
    """Raise InputError for a policy that does not exist."""
    if absent not in get_args(Absent):
        raise InputError(f"absent is 'score', 'ignore', 'zero' or 'false_positives', got {absent!r}")


def apply_absent(
    values: Tensor, statistics: MaskStatistics, absent: Absent, *, ignoring: bool
) -> tuple[Tensor, Tensor | None]:
    """Apply the policy for masks without target pixels to values (B, C); return them and their counts, or None for 1.

    A fully ignored mask has count 0 under every policy. Pass ignoring=False if no mask can be ignored.
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
            values = torch.where(empty, share(predicted, valid), values)
        else:
            check_absent(absent)
    return values, None if count is None else count.to(values.dtype)


def share(summed: Tensor, whole: Tensor) -> Tensor:
    """Divide sums by the number or the weight of their pixels; without any, return the sums, which are 0."""
    # Not clamped to 1: weights may add up to less.
    return summed / torch.where(whole > 0, whole, 1.0)


def required(statistics: MaskStatistics, *names: str) -> tuple[Tensor, ...]:
    """Return the named sums, which the loss must list in `needs`."""
    found: list[Any] = [getattr(statistics, name) for name in names]
    if missing := [name for name, field in zip(names, found, strict=True) if field is None]:
        raise ValueError(f"statistics {missing} are missing; name them in `needs`")
    return tuple(found)
