"""The Matthews correlation of prediction and target, which depends on the background as well as on the mask."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Term, losses
from lossreg_segmentation.mask_loss import CONTRACT, MaskLoss, MaskOptions
from lossreg_segmentation.overlap import TAGS
from lossreg_segmentation.ratios import EPSILON
from lossreg_segmentation.segmentation_loss import required, share
from lossreg_segmentation.statistics import MaskStatistics


@losses.register("mcc", aliases=("mcc_loss", "matthews_correlation"), tags=TAGS, contract=CONTRACT)
class MCC(MaskLoss):
    r"""Matthews correlation: 0 for equal masks, 1 for independent, 2 for opposite.

        loss = 1 - (TP TN - FP FN) / sqrt(P (V - P) + smooth V) / sqrt(T (V - T) + smooth V)

    P = TP + FP and T = TP + FN are the volumes of prediction and target, V is the number of valid pixels.

    Math:
        L = 1 - \frac{(TP \cdot TN - FP \cdot FN) / n}{\sqrt{P (n - P) / n + s}\, \sqrt{T (n - T) / n + s}}
        where $TP = \sum_i \min(p_i, t_i)$, $P = \sum_i p_i$, $T = \sum_i t_i$ over the probabilities $p_i$ and targets
        $t_i$ of the pixels, $FP = P - TP$, $FN = T - TP$, $TN = n - P - FN$ for $n$ valid pixels and $s$ is `smooth`
        ($10^{-5}$). Each variance is at least $10^{-7}$, so an empty mask costs 1; `absent` changes that.
    Args:
        smooth: added to the variances P (V - P) / V and T (V - T) / V, pixels, >= 0. 0 gives the correlation itself.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks, where each class is scored against all
        others.
        terms: {"mcc": (N, C)}, in [0, 2].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider, each product divided by V before the next: four sums multiplied overflow. Finite for any
        finite logit; all ignored gives 0. A target that is empty or full correlates with nothing: 1 without a gradient;
        for an empty one, `absent` changes the value. The background of an almost full mask is exact to V 1e-7 pixels.
    Source: Abhishek and Hamarneh 2021, eq. 3 to 5; a variance is at least 1e-7 pixels under its root.
    """

    needs = frozenset({"intersection", "predicted", "actual", "valid"})
    means_pixels = False

    def __init__(self, *, smooth: Annotated[float, Field(ge=0)] = 1e-5, **options: Unpack[MaskOptions]) -> None:
        super().__init__(**options)
        self.smooth = smooth

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Return one minus the correlation of each mask."""
        return {"mcc": self.class_term(1 - correlation(statistics, self.smooth), statistics)}


def correlation(statistics: MaskStatistics, smooth: float) -> Tensor:
    """Return the Matthews correlation of each mask, (B, C)."""
    overlap, predicted, actual, valid = required(statistics, "intersection", "predicted", "actual", "valid")
    extra, missed = predicted - overlap, actual - overlap
    neither = valid - predicted - missed
    covariance = overlap * share(neither, valid) - extra * share(missed, valid)
    return covariance / (_deviation(predicted, valid, smooth) * _deviation(actual, valid, smooth))


def _deviation(counted: Tensor, valid: Tensor, smooth: float) -> Tensor:
    """Return the square root of the variance, summed over pixels; bounded away from 0, where its slope is infinite."""
    variance = counted * share(valid - counted, valid)
    return torch.sqrt(variance.clamp_min(EPSILON) + smooth)
