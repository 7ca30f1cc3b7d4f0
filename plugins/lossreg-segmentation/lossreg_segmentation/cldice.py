"""The clDice loss: overlap of centre lines with masks, for thin structures that must stay connected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Unpack

import torch
from pydantic import Field

from lossreg import Term, losses
from lossreg_segmentation.dense_loss import POSITIONAL_CONTRACT, DenseLoss, DenseOptions, Pixels
from lossreg_segmentation.ratios import ratio
from lossreg_segmentation.skeleton import MAX_ITERATIONS, soft_skeleton

TAGS = ("segmentation", "topology", "binary", "multilabel", "multiclass", "logits", "imbalance")


@losses.register("cldice", aliases=("cldice_loss", "soft_cldice"), tags=TAGS, contract=POSITIONAL_CONTRACT)
class CLDice(DenseLoss):
    r"""Overlap of each mask's centre line with the other mask.

        loss = 1 - 2 Tprec Tsens / (Tprec + Tsens)
        Tprec = (sum S_p t + smooth) / (sum S_p + smooth),  Tsens = (sum S_t p + smooth) / (sum S_t + smooth)

    S is the soft skeleton. The cost of a gap in a vessel depends on its length, not on the vessel's width. Mix it with
    an overlap loss, which penalises a wrong width. Every class counts; background=False leaves class 0 out.

    Math:
        L = 1 - \frac{2\, A\, B}{A + B}
        A = \frac{\sum_i S(p)_i\, t_i + s}{\sum_i S(p)_i + s}, \quad B = \frac{\sum_i S(t)_i\, p_i + s}{\sum_i
            S(t)_i + s}
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target, $S$ the soft skeleton, the centre line
        that `iterations` (10) erosions find, and $s$ is `smooth` (1).
    Args:
        iterations: number of erosions of the skeleton, 1 to 64: at least half of the widest structure's width, pixels.
        smooth: added to numerators and denominators, pixels, >= 0.
        batch: sum over the batch before the formula, as if it were one large image; with distributed="global" over the
            batches of all ranks, in one more all-reduce.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"cldice": (N, C)}, in [0, 1]; (1, C) with batch=True.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. Ignored pixels are background in both
        masks before the skeletons. With smooth=0, masks without a centre line, empty or full, cost 1 even where equal.
        Stores 8 bytes per logit and iteration for the gradient and recomputes the rest.
    Source: Shit et al. 2021, eq. 1 to 3; peers that exclude the first class are constant 0 with one class.
    """

    positional = True
    means_pixels = False
    meaningless: ClassVar[Mapping[str, str]] = {"weight": "its skeletons move masks over pixels"}

    def __init__(
        self,
        *,
        iterations: Annotated[int, Field(ge=1, le=MAX_ITERATIONS)] = 10,
        smooth: Annotated[float, Field(ge=0)] = 1.0,
        batch: bool = False,
        **options: Unpack[DenseOptions],
    ) -> None:
        super().__init__(**options)
        self.iterations = iterations
        self.smooth = smooth
        self.batch = batch

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Return one minus the harmonic mean of precision and sensitivity of each mask's centre line."""
        p = torch.where(pixels.valid, pixels.probabilities(), 0.0)
        pairs = ((soft_skeleton(p, self.iterations), pixels.target), (soft_skeleton(pixels.target, self.iterations), p))
        sums = [values.flatten(2).sum(2) for skeleton, mask in pairs for values in (skeleton * mask, skeleton)]
        inside, whole, inside_target, whole_target = self.of_batch(torch.stack(sums)) + self.smooth
        precision, sensitivity = ratio(inside, whole, self.smooth), ratio(inside_target, whole_target, self.smooth)
        values = 1 - ratio(2 * precision * sensitivity, precision + sensitivity, 0)
        return {"cldice": self.class_term(values, self.counted(pixels))}
