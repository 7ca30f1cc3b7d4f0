"""The base of losses that read every pixel, because they are not a formula over sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Unpack

import torch
from torch import Tensor

from lossreg import Term
from lossreg.authoring import PerPixel, contract
from lossreg_segmentation.distributed import (
    Distributed,
    added_over_ranks,
    check_distributed,
    means_over_ranks,
    sums_over_ranks,
)
from lossreg_segmentation.segmentation_loss import SegmentationLoss, SegmentationOptions
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.autocast import outside_autocast
from lossreg_segmentation.statistics.checks import check_tensors
from lossreg_segmentation.statistics.reference import read_target
from lossreg_segmentation.statistics.value_checks import checked
from lossreg_segmentation.statistics.weights import read_weight

CONTRACT = contract(input="logits", target="mask or class index", tasks=["binary", "multilabel", "multiclass"])
INDEPENDENT_CONTRACT = contract(input="logits", target="mask", tasks=["binary", "multilabel"])
CLASSES_CONTRACT = contract(input="logits", target="class index", tasks=["multiclass"])
POSITIONAL_CONTRACT = contract(
    input="logits", target="mask or class index", tasks=["binary", "multilabel", "multiclass"], positional=True
)


class Pixels(NamedTuple):
    """Logits and target of every pixel, (B, C, *) each, float32 or wider. Ignored positions are 0 in both.

    Class indices are converted to one-hot masks. `valid` is (B, C, *) for independent masks, (B, 1, *) for classes: a
    pixel is ignored in all classes or in none. Pixels of weight 0 are ignored; `weight` is (B, C, *) or (B, 1, *).
    """

    logits: Tensor
    target: Tensor
    valid: Tensor
    multiclass: bool
    weight: Tensor | None = None

    def probabilities(self) -> Tensor:
        """Return p, (B, C, *): softmax over classes, sigmoid of independent masks; 1/C or 1/2 at ignored positions."""
        return self.logits.softmax(1) if self.multiclass else self.logits.sigmoid()

    def statistics(self, *, predicted: bool = True) -> MaskStatistics:
        """Return the sums that the policy for absent classes reads; only "false_positives" needs `predicted`."""
        actual = self.sum(self.target)
        number = self.valid.flatten(2).sum(2, dtype=actual.dtype).expand_as(actual)
        return MaskStatistics(
            predicted=self.sum(torch.where(self.valid, self.probabilities(), 0.0)) if predicted else None,
            actual=actual,
            valid=number if self.weight is None else self.sum(self.valid.to(actual.dtype)).expand_as(actual),
            counted=None if self.weight is None else number,
        )

    def sum(self, values: Tensor) -> Tensor:
        """Return the weighted sum over the pixels of each mask, (B, C), of values that are 0 at ignored pixels."""
        return (values if self.weight is None else self.weight * values).flatten(2).sum(2)


class DenseOptions(SegmentationOptions, total=False):
    """Options shared by the losses over pixels. `DenseLoss` documents them and their defaults."""

    distributed: Distributed


class DenseLoss(SegmentationLoss):
    """Base of losses over pixels. A subclass turns `Pixels` into terms, in float32 or wider and without autocast.

    A `positional` loss uses the positions of pixels, so its input needs at least one axis after (N, C). A loss that
    ranks or moves pixels has no weights; the others are a `WeightedDenseLoss`.

    Args:
        distributed: "global" treats the batches of all ranks as one batch: under DDP, which averages gradients, uneven
            and empty batches give the gradient of the whole batch, whose loss is the mean over ranks. It takes one
            all-reduce of a number. With gradients off, and with "local", each rank has the loss of its own batch.
        **options: the options of `SegmentationLoss`.
    """

    positional: ClassVar[bool] = False

    def __init__(self, *, distributed: Distributed = "local", **options: Unpack[SegmentationOptions]) -> None:
        super().__init__(**options)
        check_distributed(distributed, self.reduction)
        self.distributed = distributed

    def terms(self, input: Tensor, target: Tensor) -> dict[str, Term]:
        """Compute the terms by the formula."""
        return self.weighted_terms(input, target, None)

    def weighted_terms(self, input: Tensor, target: Tensor, weight: Tensor | None) -> dict[str, Term]:
        """Compute the terms by the formula, with a weight for each pixel."""
        task = self.task_of(input, target)
        if input.ndim == 2 and not self.positional:  # each example is one pixel
            input, target = input.unsqueeze(2), target.unsqueeze(-1)
            weight = weight.unsqueeze(-1) if isinstance(weight, Tensor) else weight
        with outside_autocast(input):
            return self.of_ranks(self.formula(read_pixels(input, target, task, self.ignore_index, weight), task), input)

    def of_ranks(self, terms: dict[str, Term], input: Tensor) -> dict[str, Term]:
        """Return the terms with the mean number of examples of all ranks, if these share one batch."""
        shared = self.distributed == "global" and not self.batch
        return means_over_ranks(terms, input) if shared else terms

    def rows(self, values: Tensor) -> Tensor:
        """Return the pixels of each mask in a row, (B, C, L), or with batch=True those of all examples, (1, C, B L)."""
        rows = values.flatten(2)
        return rows.transpose(0, 1).flatten(1).unsqueeze(0) if self.batch else rows

    def of_batch(self, sums: Tensor) -> Tensor:
        """Return sums (K, B, *) as they are, or with batch=True those over the batch of all ranks, (K, 1, *)."""
        if not self.batch:
            return sums
        sums = sums.sum(1, keepdim=True)
        return added_over_ranks(sums) if self.distributed == "global" else sums

    def counted(self, pixels: Pixels) -> MaskStatistics:
        """Return the sums that a term of these pixels needs for the policy for absent classes."""
        statistics = pixels.statistics(predicted=self.absent == "false_positives")
        if not self.batch:
            return statistics
        statistics = statistics.over_batch()
        return sums_over_ranks(statistics) if self.distributed == "global" else statistics

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Turn the pixels into terms."""
        raise NotImplementedError(f"{type(self).__name__} must define formula(pixels, task)")


class WeightedDenseLoss(DenseLoss):
    """Base of losses over pixels in which each pixel may have a weight: `loss(input, target, weight=w)`."""

    per_pixel: ClassVar[Mapping[str, PerPixel]] = {"weight": "weight"}

    def terms(self, input: Tensor, target: Tensor, *, weight: Tensor | None = None) -> dict[str, Term]:
        """Compute the terms by the formula."""
        return self.weighted_terms(input, target, weight)


def read_pixels(
    input: Tensor, target: Tensor, task: str, ignore_index: int | None, weight: Tensor | None = None
) -> Pixels:
    """Check logits, target and weights and return them as `Pixels`."""
    multiclass = task == "multiclass"
    if not multiclass and target.ndim < input.ndim:
        target = target.unsqueeze(1)
    if not multiclass and target.shape == (input.shape[0], 1, *input.shape[2:]):
        target = target.expand(input.shape)  # one mask, shared by C predictions
    activation = "softmax" if multiclass else "sigmoid"
    check_tensors(input, target, activation)
    weight = None if weight is None else read_weight(weight, input, activation)
    target = checked(input, target, activation, ignore_index, weight)
    x = input if input.dtype == torch.float64 else input.float()
    t, valid, _ = read_target(input, target, ignore_index, x.dtype)
    valid = valid.reshape(input.shape[0], valid.shape[1], *input.shape[2:])
    if multiclass:
        valid = valid.all(1, keepdim=True)
    t = t.reshape(input.shape)
    if weight is not None:
        valid = valid & (weight > 0)
    if ignore_index is not None or weight is not None:
        # Before the activation: a NaN logit under an ignored position would survive a product with zero.
        x, t = torch.where(valid, x, 0.0), torch.where(valid, t, 0.0)
    return Pixels(x, t, valid, multiclass, weight)
