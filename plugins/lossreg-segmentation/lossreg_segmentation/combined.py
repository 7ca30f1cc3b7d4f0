"""The mixture of binary cross-entropy, Dice and focal, which resists collapse on mostly empty masks."""

from __future__ import annotations

from typing import Annotated, Unpack

from pydantic import Field

from lossreg import losses
from lossreg_segmentation.mask_loss import INDEPENDENT_CONTRACT, MaskLoss, MaskOptions
from lossreg_segmentation.pixelwise import Share, Weight
from lossreg_segmentation.ratios import Formula, PixelMean, dice_loss, focal_loss


@losses.register(
    "bce_dice_focal",
    aliases=("bce_dice_focal_loss", "combined", "combined_loss", "combined_segmentation", "combined_segmentation_loss"),
    tags=("segmentation", "pixelwise", "overlap", "mixture", "binary", "multilabel", "logits", "imbalance"),
    contract=INDEPENDENT_CONTRACT,
)
class BCEDiceFocal(MaskLoss):
    r"""Binary cross-entropy, Dice and focal from one pass.

        loss = bce_weight bce + dice_weight dice + focal_weight focal

    Math:
        L = w_b\, L_b + w_d\, L_d + w_f\, L_f
        where $L_b$ is `bce`, $L_d$ `dice` and $L_f$ `focal` with `alpha` (0.25), `gamma` (2) and `smooth` (1); $w_b$ is
        `bce_weight` (0.4), $w_d$ `dice_weight` (0.4) and $w_f$ `focal_weight` (0.2).
    Args:
        bce_weight: factor of the binary cross-entropy, >= 0. A component of weight 0 is logged but adds nothing.
        dice_weight: factor of the Dice loss, >= 0.
        focal_weight: factor of the focal loss, >= 0.
        alpha: focal weight of positive pixels in [0, 1]; negative pixels have weight 1 - alpha. None: both have 1.
        gamma: focal exponent, >= 0, dimensionless.
        smooth: added to numerator and denominator of Dice, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, C, *) masks, or (N, *) for C = 1.
        terms: {"bce", "dice", "focal"}: (N, C) each; bce and focal in nats, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0.
    Source: the three losses as `bce`, `dice` and `focal` define them.
    """

    needs = frozenset(
        {"intersection", "predicted", "actual", "valid", "cross_entropy_positive", "cross_entropy_negative"}
        | {"focal_positive", "focal_negative"}
    )
    tasks = ("binary", "multilabel")

    def __init__(
        self,
        *,
        bce_weight: Weight = 0.4,
        dice_weight: Weight = 0.4,
        focal_weight: Weight = 0.2,
        alpha: Share | None = 0.25,
        gamma: Annotated[float, Field(ge=0)] = 2.0,
        smooth: Annotated[float, Field(ge=0)] = 1.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        self.bce_weight = bce_weight
        self.dice_weight = dice_weight
        self.focal_weight = focal_weight
        self.alpha = alpha
        self.gamma = gamma
        self.smooth = smooth

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the three parts, each before its weight."""
        sides = {"cross_entropy_positive": 1.0, "cross_entropy_negative": 1.0}
        return {
            "bce": PixelMean(sides, self.bce_weight),
            "dice": dice_loss(self.smooth, self.dice_weight),
            "focal": focal_loss(self.alpha, self.focal_weight),
        }
