"""Asymmetric focal losses: easy pixels of the background are down-weighted, pixels of rare classes are not."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Term, losses
from lossreg_segmentation.mask_loss import CONTRACT, MaskLoss, MaskOptions
from lossreg_segmentation.overlap import TAGS as OVERLAP_TAGS
from lossreg_segmentation.pixelwise import TAGS as PIXELWISE_TAGS
from lossreg_segmentation.pixelwise import Share, Weight
from lossreg_segmentation.ratios import EPSILON, ratio
from lossreg_segmentation.segmentation_loss import required, share
from lossreg_segmentation.statistics import MaskStatistics

Enhancement = Annotated[float, Field(ge=0, lt=1)]

_FOCAL_NEEDS = frozenset({"valid", "cross_entropy_positive", "focal_positive", "focal_negative"})
_TVERSKY_NEEDS = frozenset({"intersection", "predicted", "actual", "valid"})


class _Asymmetric(MaskLoss):
    """Base of the three losses: the two terms, for rare classes and for the background.

    For independent masks, the mask is rare and the rest is its background. For classes, channel 0 is the background and
    all others are rare.
    """

    def __init__(self, delta: float, gamma: float, **options: Unpack[MaskOptions]) -> None:
        super().__init__(**options)
        self.delta = delta
        self.gamma = gamma

    def focal_term(self, statistics: MaskStatistics, task: str, weight: float = 1.0) -> Term:
        """Return the cross-entropy of the rare classes and the focal loss of the background."""
        rare, focal = required(statistics, "cross_entropy_positive", "focal_positive")
        if task == "multiclass":
            values = torch.cat([(1 - self.delta) * focal[:, :1], self.delta * rare[:, 1:]], 1)
            return self.pixel_term(values, statistics, weight)
        (background,) = required(statistics, "focal_negative")
        values = share(self.delta * rare + (1 - self.delta) * background, self.pixels(statistics))
        return self.class_term(values, statistics, weight)

    def tversky_term(self, statistics: MaskStatistics, task: str, smooth: float, weight: float = 1.0) -> Term:
        """Return the Tversky loss of the background and the focal Tversky loss of the rare classes."""
        overlap, predicted, actual = required(statistics, "intersection", "predicted", "actual")
        extra, missed = predicted - overlap, actual - overlap
        values = self._tversky(overlap, extra, missed, smooth)
        if task == "multiclass":
            values = torch.cat([values[:, :1], self._enhanced(values[:, 1:])], 1)
        else:
            (valid,) = required(statistics, "valid")
            neither = (valid - predicted - missed).clamp_min(0)  # rounding may give a small negative number
            # False positives of the mask are false negatives of its background.
            values = (self._enhanced(values) + self._tversky(neither, missed, extra, smooth)) / 2
        return self.class_term(values, statistics, weight)

    def _tversky(self, overlap: Tensor, extra: Tensor, missed: Tensor, smooth: float) -> Tensor:
        wrong = (1 - self.delta) * extra + self.delta * missed
        return 1 - ratio(overlap + smooth, overlap + wrong + smooth, smooth)

    def _enhanced(self, values: Tensor) -> Tensor:
        return torch.pow(values.clamp_min(EPSILON), 1 - self.gamma)


@losses.register(
    "asymmetric_focal", aliases=("asymmetric_focal_loss",), tags=(*PIXELWISE_TAGS, "imbalance"), contract=CONTRACT
)
class AsymmetricFocal(_Asymmetric):
    r"""Focal loss that down-weights only the easy pixels of the background.

        loss = -delta t log p - (1 - delta) (1 - t) p^gamma log(1 - p)

    For classes, channel 0 is the background with weight (1 - delta) (1 - p_0)^gamma; the others have weight delta.

    Math:
        L = -\frac{1}{n} \sum_i \left( \delta\, t_i \log p_i + (1 - \delta)(1 - t_i)\, p_i^\gamma \log(1 - p_i)
            \right)
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target, $n$ the number of valid pixels,
        $\delta$ is `delta` (0.7) and $\gamma$ `gamma` (2). For classes, a pixel costs $-(1 - \delta)(1 - q_i)^\gamma
        \log q_i$ if it is background, else $-\delta \log q_i$, where $q_i$ is the probability of its class.
    Args:
        delta: weight of the rare pixels in [0, 1]; background pixels have weight 1 - delta.
        gamma: focusing exponent of the background, >= 0, dimensionless.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"asymmetric_focal": (N,) multiclass, (N, C) otherwise}, nats, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: absent= with multiclass, where a class without pixels adds nothing.
    Numerics: float32 or wider, the power in log space; finite for any finite logit; all ignored gives 0.
    Source: Yeung et al. 2022, modified asymmetric focal loss. Soft masks use the background part of `focal`.
    """

    needs = _FOCAL_NEEDS
    has_absent_classes = False

    def __init__(
        self,
        *,
        delta: Share = 0.7,
        gamma: Weight = 2.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(delta, gamma, **options)

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Return the mean over the pixels of each example, or of each independent mask."""
        return {"asymmetric_focal": self.focal_term(statistics, task)}


@losses.register(
    "asymmetric_focal_tversky", aliases=("asymmetric_focal_tversky_loss",), tags=OVERLAP_TAGS, contract=CONTRACT
)
class AsymmetricFocalTversky(_Asymmetric):
    r"""Tversky loss of mask and background, raised where the mask is nearly right.

        loss = ((1 - TI)^(1 - gamma) + 1 - TI_background) / 2
        TI = (TP + smooth) / (TP + delta FN + (1 - delta) FP + smooth)

    For classes, channel 0 is the background, and each other class has the term (1 - TI)^(1 - gamma).

    Math:
        L = \frac{(1 - I)^{1 - \gamma} + 1 - I_0}{2}
        I = \frac{TP + s}{TP + \delta\,FN + (1 - \delta)\,FP + s}, \quad I_0 = \frac{TN + s}{TN + \delta\,FP + (1 -
            \delta)\,FN + s}
        where $TP = \sum_i \min(p_i, t_i)$, $P = \sum_i p_i$, $T = \sum_i t_i$ over the probabilities $p_i$ and targets
        $t_i$ of the pixels, $FP = P - TP$, $FN = T - TP$, $TN = n - P - FN$ for $n$ valid pixels, $\delta$ is `delta`
        (0.7), $\gamma$ `gamma` (0.75) and $s$ `smooth` (1); $1 - I$ is at least $10^{-7}$. For classes, $1 - I$ of the
        background and $(1 - I)^{1 - \gamma}$ of the others are averaged.
    Args:
        delta: weight of false negatives in [0, 1]; false positives have weight 1 - delta.
        gamma: raises the loss of nearly right masks by the exponent 1 - gamma, in [0, 1), dimensionless. 0 raises none.
        smooth: added to numerator and denominator, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"asymmetric_focal_tversky": (N, C)}, in [0, 1].
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; 1 - TI is at least 1e-7 before the power, so a perfect mask has a finite gradient;
        all ignored gives 0.
    Source: Yeung et al. 2022, modified asymmetric focal Tversky loss, the mean over classes. One channel replaces their
        two: its background is the complement of the mask.
    """

    needs = _TVERSKY_NEEDS
    means_pixels = False

    def __init__(
        self,
        *,
        delta: Share = 0.7,
        gamma: Enhancement = 0.75,
        smooth: Weight = 1.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(delta, gamma, **options)
        self.smooth = smooth

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Return one value of each class, or of each mask with its background."""
        return {"asymmetric_focal_tversky": self.tversky_term(statistics, task, self.smooth)}


@losses.register(
    "unified_focal",
    aliases=("unified_focal_loss", "asymmetric_unified_focal"),
    tags=(*OVERLAP_TAGS, "pixelwise", "mixture"),
    contract=CONTRACT,
)
class UnifiedFocal(_Asymmetric):
    r"""Mixture of asymmetric focal and asymmetric focal Tversky with common delta and gamma.

        loss = weight asymmetric_focal + (1 - weight) asymmetric_focal_tversky

    Math:
        L = \lambda\, L_f + (1 - \lambda)\, L_v
        where $\lambda$ is `weight` (0.5), $L_f$ is `asymmetric_focal` and $L_v$ `asymmetric_focal_tversky`, both with
        `delta` (0.6), `gamma` (0.5) and `smooth` (1).
    Args:
        weight: share of the asymmetric focal loss in [0, 1] (lambda in the paper).
        delta: weight of rare pixels and false negatives in [0, 1]; background and false positives have 1 - delta.
        gamma: in [0, 1), dimensionless: suppresses the easy background and raises the nearly right mask.
        smooth: added to numerator and denominator of the Tversky score, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"asymmetric_focal": (N,) multiclass, (N, C) otherwise, "asymmetric_focal_tversky": (N, C)}.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: absent= with multiclass, where a class without pixels adds nothing to the focal part.
    Numerics: as in its two parts.
    Source: Yeung et al. 2022, asymmetric Unified Focal loss, with the defaults of its authors.
    """

    needs = _FOCAL_NEEDS | _TVERSKY_NEEDS
    has_absent_classes = False

    def __init__(
        self,
        *,
        weight: Share = 0.5,
        delta: Share = 0.6,
        gamma: Enhancement = 0.5,
        smooth: Weight = 1.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(delta, gamma, **options)
        self.weight = weight
        self.smooth = smooth

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Return the two parts, each before its weight."""
        return {
            "asymmetric_focal": self.focal_term(statistics, task, self.weight),
            "asymmetric_focal_tversky": self.tversky_term(statistics, task, self.smooth, 1 - self.weight),
        }
