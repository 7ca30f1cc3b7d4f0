"""The boundary loss: probabilities weighted by their signed distance to the target's boundary."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from lossreg import Term, losses
from lossreg_segmentation.dense_loss import POSITIONAL_CONTRACT, DenseOptions, Pixels
from lossreg_segmentation.distance import DistanceLoss, Spacing
from lossreg_segmentation.segmentation_loss import share

TAGS = ("segmentation", "boundary", "binary", "multilabel", "multiclass", "logits", "imbalance")


@losses.register("boundary", aliases=("boundary_loss",), tags=TAGS, contract=POSITIONAL_CONTRACT)
class Boundary(DistanceLoss):
    r"""Mean of p times the signed distance to the target's boundary.

        loss = mean_i p_i phi_i,  phi < 0 inside the target and > 0 outside

    It is negative where the prediction is right and has no fixed lower bound. Alone it may converge to an empty
    prediction: mix it with an overlap loss and let its weight rise from near 0 during training. A call may pass the
    map: `loss(input, target, distance=signed_distance(masks))`.

    Math:
        L = \frac{1}{n} \sum_i p_i\, \phi_i
        where $p_i$ is the predicted probability at pixel $i$, $n$ the number of valid pixels and $\phi_i$ the distance
        of the pixel to the target's boundary, negative inside. It is 0 for a mask without a boundary, such as an empty
        one.
    Args:
        spacing: size of a pixel along each axis, > 0; None for 1, which gives distances in pixels.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks; distance (N, C, *) or None.
        terms: {"boundary": (N, C)}, in pixels or the unit of spacing, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        ImplementationError: no distance was given and SciPy is not installed.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. A mask without a boundary, empty or
        full, has phi = 0 and adds nothing. Ignored pixels count as outside in phi. SciPy computes phi on the CPU.
    Source: Kervadec et al. 2019, eq. 5; their code takes one pixel off the distances inside.
    """

    def __init__(self, *, spacing: Spacing | None = None, **options: Unpack[DenseOptions]) -> None:
        super().__init__(spacing=spacing, **options)

    def distance_formula(self, pixels: Pixels, distance: Tensor) -> dict[str, Term]:
        """Return the mean over the pixels of each mask."""
        statistics = self.counted(pixels)
        weighted = pixels.sum(pixels.probabilities() * distance)
        return {"boundary": self.class_term(share(weighted, self.pixels(statistics)), statistics)}
