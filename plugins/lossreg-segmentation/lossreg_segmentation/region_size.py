"""The error of a mask's size, wherever its pixels are."""

from __future__ import annotations

from lossreg import Term, losses
from lossreg_segmentation.mask_loss import CONTRACT, MaskLoss
from lossreg_segmentation.segmentation_loss import required, share
from lossreg_segmentation.statistics import MaskStatistics


@losses.register(
    "region_size",
    aliases=("region_size_loss",),
    tags=("segmentation", "calibration", "imbalance", "binary", "multilabel", "multiclass", "logits"),
    contract=CONTRACT,
)
class RegionSize(MaskLoss):
    r"""Error of the share of pixels that a mask or class has in each image.

        loss = |mean p - mean t|

    It is a bias beside a pixelwise loss such as cross_entropy, for which the sizes of regions matter: alone it does not
    ask where the pixels are.

    Math:
        L = \frac{1}{n} \left| \sum_i p_i - \sum_i t_i \right|
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target and $n$ the number of valid pixels.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"region_size": (N, C)}, in [0, 1], shares of the valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. Equal sizes have no gradient.
    Source: Liu et al. 2023 ("Do we really need Dice?"), the L1 term beside cross-entropy.
    """

    needs = frozenset({"predicted", "actual", "valid"})

    def formula(self, statistics: MaskStatistics, task: str) -> dict[str, Term]:
        """Return the difference of both shares for each mask."""
        predicted, actual = required(statistics, "predicted", "actual")
        values = share((predicted - actual).abs(), self.pixels(statistics))
        return {"region_size": self.class_term(values, statistics)}
