"""Pixelwise losses: a mean over pixels of a function of p_t, the probability of the pixel's true class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Unpack

from pydantic import Field
from torch import Tensor

from lossreg import losses
from lossreg.errors import InputError
from lossreg_segmentation.class_numbers import per_class
from lossreg_segmentation.label_smoothing import NO_NEGATIVES, PositiveWeight, SmoothedLoss
from lossreg_segmentation.mask_loss import CONTRACT, INDEPENDENT_CONTRACT, MaskLoss, MaskOptions
from lossreg_segmentation.ratios import Formula, PixelMean, focal_loss

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]

BINARY_TAGS = ("segmentation", "pixelwise", "binary", "multilabel", "logits")
TAGS = (*BINARY_TAGS, "multiclass")


@losses.register("bce", aliases=("bce_loss", "binary_cross_entropy"), tags=BINARY_TAGS, contract=INDEPENDENT_CONTRACT)
class BCE(SmoothedLoss):
    r"""Binary cross-entropy of independent masks.

        loss = -pos_weight t log p - (1 - t) log(1 - p)

    Math:
        L = -\frac{1}{n} \sum_i \left( w\, t_i \log p_i + (1 - t_i) \log(1 - p_i) \right)
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target, $n$ the number of valid pixels and $w$
        `pos_weight` (1). With `label_smoothing` $\eta$ (0), $(1 - \eta)\, t_i + \eta / 2$ stands for $t_i$.
    Args:
        pos_weight: factor of the positive pixels, > 0; a number or one per channel. None is 1.
        label_smoothing: share s of the target that is spread evenly over both sides, t (1 - s) + s / 2, in [0, 1).
    Shapes:
        input (N, C, *) logits; target (N, C, *) masks, or (N, *) for C = 1.
        terms: {"bce": (N, C)}, nats, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. Smoothed masks take a second pass.
    Source: torch.nn.BCEWithLogitsLoss, of the smoothed target.
    """

    tasks = ("binary", "multilabel")

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the mean over the pixels of each mask."""
        return {"bce": self.of_masks(classes)}


@losses.register("cross_entropy", aliases=("cross_entropy_loss", "ce"), tags=TAGS, contract=CONTRACT)
class CrossEntropy(SmoothedLoss):
    r"""Cross-entropy of classes, by softmax; of independent masks it is BCE.

        loss = -sum_c t_c log p_c

    Math:
        L = -\frac{\sum_i \sum_c w_c\, \tilde t_{ic} \log p_{ic}}{\sum_i \sum_c w_c\, t_{ic}}
        \tilde t_{ic} = (1 - \eta)\, t_{ic} + \frac{\eta}{C}
        where $p_{ic}$ is the predicted probability of class $c$ at pixel $i$, $t_{ic}$ is 1 for its class and else 0,
        $C$ the number of classes, $w_c$ `class_weight` (1) and $\eta$ `label_smoothing` (0). Masks have the value of
        `bce`.
    Args:
        pos_weight: for masks, factor of the positive pixels, > 0; a number or one per channel. None is 1.
        label_smoothing: share s of the target that is spread evenly over all classes, t (1 - s) + s / C, in [0, 1); for
            masks over both sides, t (1 - s) + s / 2.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) soft classes or masks.
        terms: {"cross_entropy": (N,) multiclass, (N, C) otherwise}, nats, mean over valid pixels; with class_weight
        sum_i w l / sum_i w, like torch with class indices.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: absent= with multiclass, where a class without pixels adds nothing; pos_weight= with multiclass.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. Smoothed masks take a second pass.
    Source: torch.nn.CrossEntropyLoss; batch=True gives its mean over all pixels of the batch. Smoothing: Szegedy et al.
        2016, section 7.
    """

    has_absent_classes = False

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the mean over the pixels of each example, or of each independent mask."""
        if task != "multiclass":
            return {"cross_entropy": self.of_masks(classes)}
        self.no_positive_classes()
        share = self.label_smoothing
        spread = {"cross_entropy_uniform": share / classes} if share > 0 else {}
        return {"cross_entropy": PixelMean({"cross_entropy_positive": 1.0 - share} | spread)}


@losses.register("focal", aliases=("focal_loss",), tags=(*TAGS, "imbalance"), contract=CONTRACT)
class Focal(MaskLoss):
    r"""Cross-entropy with easy pixels down-weighted by (1 - p_t)^gamma.

        loss = -alpha_t (1 - p_t)^gamma log p_t

    Math:
        L = \frac{1}{n} \sum_i \alpha_i\, (1 - q_i)^\gamma\, \ell_i
        q_i = p_i t_i + (1 - p_i)(1 - t_i), \quad \alpha_i = \alpha t_i + (1 - \alpha)(1 - t_i)
        \ell_i = -w\, t_i \log p_i - (1 - t_i) \log(1 - p_i)
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target, $n$ the number of valid pixels,
        $\gamma$ is `gamma` (2), $\alpha$ `alpha` (0.25) and $w$ `pos_weight` (1). For classes, $q_i$ is the probability
        of the pixel's class, $\ell_i = -\log q_i$ and $\alpha_i = 1$, or the alpha of the class.
    Args:
        alpha: weight of positive pixels in [0, 1]; negative pixels have weight 1 - alpha. A list has one per channel.
            None: both have weight 1. Softmax has no negatives: there a list gives one factor per class, and the default
            has no effect.
        pos_weight: for masks, another factor of the positive pixels, > 0; a number or one per channel. None is 1.
        gamma: focusing exponent, >= 0, dimensionless. 0 gives cross-entropy.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"focal": (N,) multiclass, (N, C) otherwise}, nats, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: alpha above 1 for masks, a number other than the default for classes; pos_weight= with multiclass.
    Numerics: float32 or wider, the power in log space; finite for any finite logit; all ignored gives 0.
    Source: Lin et al. 2017, eq. 5. For soft masks t, as in torchvision and SAM 2: -log p_t is the cross-entropy of t,
        p_t = p t + (1 - p) (1 - t), and alpha_t = alpha t + (1 - alpha) (1 - t). kornia and MONAI differ there.
        MONAI's list of alpha for masks weighs the positive pixels alone: here alpha=None and the list as pos_weight.
    """

    needs = frozenset({"valid", "focal_positive", "focal_negative"})
    has_absent_classes = False
    alpha_per_class: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        *,
        alpha: Share | Annotated[Sequence[Weight], Field(min_length=2)] | None = 0.25,
        gamma: Annotated[float, Field(ge=0)] = 2.0,
        pos_weight: PositiveWeight | None = None,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        alpha = alpha.tolist() if isinstance(alpha, Tensor) else alpha
        self.alpha = alpha
        self.gamma = gamma
        self.class_values("alpha_per_class", alpha if isinstance(alpha, Sequence) else None)
        self.class_values("pos_weight", pos_weight)
        if self.task != "auto":
            self._check_factors(self.task)

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the mean over the pixels of each example, or of each independent mask."""
        self._check_factors(task)
        if task == "multiclass":
            return {"focal": PixelMean({"focal_positive": per_class("alpha", self.alpha_per_class, classes)})}
        alpha = per_class("alpha", self.alpha_per_class, classes) if isinstance(self.alpha, Sequence) else self.alpha
        positive = per_class("pos_weight", self.pos_weight, classes)
        return {"focal": focal_loss(alpha, positive=positive)}

    def _check_factors(self, task: str) -> None:
        """Raise InputError for an alpha or a pos_weight without a meaning in a task."""
        if task == "binary":
            per_class("alpha", self.alpha_per_class, 1)
            per_class("pos_weight", self.pos_weight, 1)
        largest = max(self.alpha) if isinstance(self.alpha, Sequence) else 0
        if task != "multiclass":
            if largest > 1:
                raise InputError(
                    f"alpha contains {largest}, but the task is {task}, where negative pixels weigh 1 - alpha; give"
                    " numbers from 0 to 1"
                )
            return
        is_number = self.alpha is not None and self.alpha != 0.25 and not isinstance(self.alpha, Sequence)
        wrong = "pos_weight" if self.pos_weight is not None else f"alpha={self.alpha}" if is_number else ""
        if wrong:
            raise InputError(f"{NO_NEGATIVES.format(wrong)}; give alpha as a list of factors, one for each class")
