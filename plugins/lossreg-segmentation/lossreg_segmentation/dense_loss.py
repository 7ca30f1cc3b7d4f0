"""The base of losses that read every pixel, because they are not a formula over sums."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from lossreg import Term
from lossreg.authoring import contract, debugging
from lossreg_segmentation.segmentation_loss import SegmentationLoss
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.autocast import outside_autocast
from lossreg_segmentation.statistics.checks import check_counted, check_tensors, check_values
from lossreg_segmentation.statistics.reference import read_target

CONTRACT = contract(input="logits", target="mask or class index", tasks=["binary", "multilabel", "multiclass"])
INDEPENDENT_CONTRACT = contract(input="logits", target="mask", tasks=["binary", "multilabel"])
CLASSES_CONTRACT = contract(input="logits", target="class index", tasks=["multiclass"])
POSITIONAL_CONTRACT = contract(
    input="logits", target="mask or class index", tasks=["binary", "multilabel", "multiclass"], positional=True
)


class Pixels(NamedTuple):
    """Logits and target of every pixel, (B, C, *) each, float32 or wider. Ignored positions are 0 in both.

    Class indices are converted to one-hot masks. `valid` is (B, C, *) for independent masks, (B, 1, *) for classes: a
    pixel is ignored in all classes or in none.
    """

    logits: Tensor
    target: Tensor
    valid: Tensor
    multiclass: bool

    def probabilities(self) -> Tensor:
        """Return p, (B, C, *): softmax over classes, sigmoid of independent masks; 1/C or 1/2 at ignored positions."""
        return self.logits.softmax(1) if self.multiclass else self.logits.sigmoid()

    def statistics(self, *, predicted: bool = True) -> MaskStatistics:
        """Return the sums that the policy for absent classes reads; only "false_positives" needs `predicted`."""
        actual = self.target.flatten(2).sum(2)
        return MaskStatistics(
            predicted=torch.where(self.valid, self.probabilities(), 0.0).flatten(2).sum(2) if predicted else None,
            actual=actual,
            valid=self.valid.flatten(2).sum(2, dtype=actual.dtype).expand_as(actual),
        )


class DenseLoss(SegmentationLoss):
    """Base of losses over pixels. A subclass turns `Pixels` into terms, in float32 or wider and without autocast.

    A `positional` loss uses the positions of pixels, so its input needs at least one axis after (N, C).
    """

    positional: ClassVar[bool] = False

    def terms(self, input: Tensor, target: Tensor) -> dict[str, Term]:
        """Compute the terms by the formula."""
        task = self.task_of(input, target)
        if input.ndim == 2 and not self.positional:  # each example is one pixel
            input, target = input.unsqueeze(2), target.unsqueeze(-1)
        with outside_autocast(input):
            return self.formula(read_pixels(input, target, task, self.ignore_index), task)

    def counted(self, pixels: Pixels) -> MaskStatistics:
        """Return the sums that a term of these pixels needs for the policy for absent classes."""
        return pixels.statistics(predicted=self.absent == "false_positives")

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Turn the pixels into terms."""
        raise NotImplementedError(f"{type(self).__name__} must define formula(pixels, task)")


def read_pixels(input: Tensor, target: Tensor, task: str, ignore_index: int | None) -> Pixels:
    """Check logits and target and return them as `Pixels`."""
    multiclass = task == "multiclass"
    if not multiclass and target.ndim < input.ndim:
        target = target.unsqueeze(1)
    activation = "softmax" if multiclass else "sigmoid"
    check_tensors(input, target, activation)
    if not torch.compiler.is_compiling():
        debug = debugging()
        if debug or target.device.type == "cpu":  # where it costs no device sync
            check_values(target, input.shape[1], target.ndim < input.ndim, ignore_index, input)
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
