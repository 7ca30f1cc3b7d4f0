"""Cross-entropy as a polynomial of 1 - p_t, with a free first coefficient."""

from __future__ import annotations

from typing import Annotated, Unpack

from pydantic import Field

from lossreg import losses
from lossreg_segmentation.mask_loss import CONTRACT, MaskLoss, MaskOptions
from lossreg_segmentation.pixelwise import TAGS
from lossreg_segmentation.ratios import Formula, PixelMean


@losses.register("poly1", aliases=("poly1_loss", "poly1_cross_entropy"), tags=TAGS, contract=CONTRACT)
class Poly1(MaskLoss):
    r"""Cross-entropy with an adjustable coefficient of 1 - p_t.

        loss = -log p_t + epsilon (1 - p_t)

    Math:
        L = \frac{1}{n} \sum_i \left( \ell_i + \epsilon\, |p_i - t_i| \right)
        \ell_i = -t_i \log p_i - (1 - t_i) \log(1 - p_i)
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target, $n$ the number of valid pixels and
        $\epsilon$ `epsilon` (1). For classes, $\ell_i = -\log q_i$ and $1 - q_i$ stands for $|p_i - t_i|$, where $q_i$
        is the probability of the pixel's class.
    Args:
        epsilon: added to the coefficient of 1 - p_t, which is 1 in cross-entropy, >= -1. 0 gives cross-entropy.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) soft classes or masks.
        terms: {"poly1": (N,) multiclass, (N, C) otherwise}, nats, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        InputError: absent= with multiclass, where a class without pixels adds nothing.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0.
    Source: Leng et al. 2022, Poly-1. For soft targets, 1 - p_t becomes the total variation distance of p and t: |p - t|
        for masks, half its sum over classes. It is minimal at p = t and equals 1 - p_t for hard targets.
    """

    needs = frozenset(
        {"intersection", "predicted", "actual", "valid", "cross_entropy_positive", "cross_entropy_negative"}
    )
    has_absent_classes = False

    def __init__(self, *, epsilon: Annotated[float, Field(ge=-1)] = 1.0, **options: Unpack[MaskOptions]) -> None:
        super().__init__(**options)
        self.epsilon = epsilon

    def formulas(self, task: str, classes: int) -> dict[str, Formula]:
        """Return the mean over the pixels of each example, or of each independent mask."""
        # The sum of 1 - p_t over the pixels of a mask or class is actual - intersection.
        missed = {"actual": self.epsilon, "intersection": -self.epsilon}
        if task == "multiclass":
            return {"poly1": PixelMean({"cross_entropy_positive": 1.0} | missed)}
        sides = {"cross_entropy_positive": 1.0, "cross_entropy_negative": 1.0}
        distance = {"actual": self.epsilon, "predicted": self.epsilon, "intersection": -2 * self.epsilon}
        return {"poly1": PixelMean(sides | distance)}
