"""Losses that see every pixel, since they are no formula over sums."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from lossreg import Term
from lossreg.authoring import contract, debugging
from lossreg_segmentation.segmentation_loss import SegmentationLoss
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.checks import check_counted, check_tensors, check_values
from lossreg_segmentation.statistics.reference import read_target

CONTRACT = contract(input="logits", target="mask or class index", tasks=["binary", "multilabel", "multiclass"])
INDEPENDENT_CONTRACT = contract(input="logits", target="mask", tasks=["binary", "multilabel"])
CLASSES_CONTRACT = contract(input="logits", target="class index", tasks=["multiclass"])
POSITIONAL_CONTRACT = contract(
    input="logits", target="mask or class index", tasks=["binary", "multilabel", "multiclass"], positional=True
)


class Pixels(NamedTuple):
    """Logits and target of every pixel, (B, C, *) each, float32 or wider. Ignored positions hold 0 in both.

    A class index comes as one-hot masks. `valid` is (B, C, *) for independent masks, (B, 1, *) for classes, whose
    pixels are ignored whole.
    """

    logits: Tensor
    target: Tensor
    valid: Tensor
    multiclass: bool

    def probabilities(self) -> Tensor:
        """p, (B, C, *): softmax over classes, sigmoid of independent masks; 1/C or 1/2 at ignored positions."""
        return self.logits.softmax(1) if self.multiclass else self.logits.sigmoid()

    def statistics(self, *, predicted: bool = True) -> MaskStatistics:
        """The sums that the policy for absent classes is about; all but one policy do without `predicted`."""
        actual = self.target.flatten(2).sum(2)
        return MaskStatistics(
            predicted=torch.where(self.valid, self.probabilities(), 0.0).flatten(2).sum(2) if predicted else None,
            actual=actual,
            valid=self.valid.flatten(2).sum(2, dtype=actual.dtype).expand_as(actual),
        )


class DenseLoss(SegmentationLoss):
    """Base of losses over pixels. A subclass turns `Pixels` into terms, in float32 or wider and without autocast.

    One that is `positional` looks at where pixels lie, so that there must be an axis of them.
    """

    positional: ClassVar[bool] = False

    def terms(self, input: Tensor, target: Tensor) -> dict[str, Term]:
        """The terms, by the formula."""
        task = self.task_of(input, target)
        if input.ndim == 2 and not self.positional:  # each example is one pixel
            input, target = input.unsqueeze(2), target.unsqueeze(-1)
        with torch.autocast(input.device.type, enabled=False):
            return self.formula(read_pixels(input, target, task, self.ignore_index), task)

    def counted(self, pixels: Pixels) -> MaskStatistics:
        """The sums that a term of these pixels needs for the policy for absent classes."""
        return pixels.statistics(predicted=self.absent == "false_positives")

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Turn the pixels into terms."""
        raise NotImplementedError(f"{type(self).__name__} must define formula(pixels, task)")


def read_pixels(input: Tensor, target: Tensor, task: str, ignore_index: int | None) -> Pixels:
    """Logits and target as `Pixels`, checked."""
    multiclass = task == "multiclass"
    if not multiclass and target.ndim < input.ndim:
        target = target.unsqueeze(1)
    activation = "softmax" if multiclass else "sigmoid"
    check_tensors(input, target, activation)
    if not torch.compiler.is_compiling():
        debug = debugging()
        if debug or target.device.type == "cpu":  # where it costs no device sync
            check_values(target, input.shape[1], target.ndim < input.ndim, ignore_index)
        if debug:
            check_counted(input, target, activation, ignore_index)
    x = input if input.dtype == torch.float64 else input.float()
    t, valid, _ = read_target(input, target, ignore_index, x.dtype)
    valid = valid.reshape(input.shape[0], -1, *input.shape[2:])
    if multiclass:
        valid = valid.all(1, keepdim=True)
    t = t.reshape(input.shape)
    if ignore_index is not None:
        # Before the activation: a NaN logit under an ignored position would survive a product with zero.
        x, t = torch.where(valid, x, 0.0), torch.where(valid, t, 0.0)
    return Pixels(x, t, valid, multiclass)
