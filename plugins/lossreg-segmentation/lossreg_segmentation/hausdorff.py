"""Hausdorff losses: squared errors whose weight grows with the distance from a boundary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Unpack

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Term, losses
from lossreg.errors import ShapeError
from lossreg_segmentation.dense_loss import POSITIONAL_CONTRACT, DenseLoss, DenseOptions, Pixels
from lossreg_segmentation.distance import DistanceLoss, Spacing, boundary_distance, pixel_sizes
from lossreg_segmentation.segmentation_loss import share
from lossreg_segmentation.skeleton import shifted

TAGS = ("segmentation", "boundary", "binary", "multilabel", "multiclass", "logits")

# Up to 4 the power of any distance, and its sum over any image, stays within float32.
Alpha = Annotated[float, Field(gt=0, le=4)]


@losses.register("hausdorff_dt", aliases=("hausdorff_dt_loss", "hausdorff"), tags=TAGS, contract=POSITIONAL_CONTRACT)
class HausdorffDT(DistanceLoss):
    r"""Squared errors weighted by their distance to both boundaries.

        loss = mean_i (p_i - t_i)^2 (d_p^alpha + d_t^alpha)

    d_t is the distance to the target's boundary, d_p to that of the prediction p > 1/2; no gradient flows through
    either. A call may pass the target's map: `loss(input, target, distance=signed_distance(masks))`.

    Math:
        L = \frac{1}{n} \sum_i (p_i - t_i)^2 \left( d_i^\alpha + e_i^\alpha \right)
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target, $n$ the number of valid pixels, $d_i$
        the distance of the pixel to the boundary of the prediction $p > 1/2$, $e_i$ that to the target's, and $\alpha$
        is `alpha` (2). Both are 0 for a mask without a boundary.
    Args:
        alpha: power of the distances, in (0, 4], dimensionless. A larger one gives far errors more weight; the paper
            finds 1 to 3 equally good.
        spacing: size of a pixel along each axis, > 0; None for 1, which gives distances in pixels.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks; distance (N, C, *) or None.
        terms: {"hausdorff_dt": (N, C)}, in pixels or the unit of spacing to the power of alpha, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
        ImplementationError: SciPy is not installed.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. A mask without a boundary, empty or
        full, has distance 0; if neither prediction nor target has a boundary, the loss is 0 even where they differ.
        Ignored pixels count as outside in both maps. SciPy computes the maps on the CPU.
    Source: Karimi and Salcudean 2019, eq. 8.
    """

    def __init__(self, *, alpha: Alpha = 2.0, spacing: Spacing | None = None, **options: Unpack[DenseOptions]) -> None:
        super().__init__(spacing=spacing, **options)
        self.alpha = alpha

    def distance_formula(self, pixels: Pixels, distance: Tensor) -> dict[str, Term]:
        """Return the mean over the pixels of each mask."""
        p = pixels.probabilities()
        # Ignored pixels have logits of 0, so p <= 1/2: outside.
        predicted = boundary_distance(p.detach() > 0.5, pixel_sizes(p, self.spacing))
        weights = torch.where(pixels.valid, predicted.pow(self.alpha) + distance.abs().pow(self.alpha), 0.0)
        statistics = self.counted(pixels)
        summed = pixels.sum((p - pixels.target).square() * weights)
        return {"hausdorff_dt": self.class_term(share(summed, self.pixels(statistics)), statistics)}


@losses.register("hausdorff_er", aliases=("hausdorff_er_loss",), tags=TAGS, contract=POSITIONAL_CONTRACT)
class HausdorffER(DenseLoss):
    r"""Squared errors whose weight grows with the number of erosions that they survive.

        loss = mean_i sum_k e_k k^alpha,  e_0 = (p - t)^2,  e_k = 2 max(B * e_(k-1) - 1/2, 0),  k = 1 .. erosions

    B is the mean over a pixel and its neighbours along the axes; neighbours beyond the border are 0. Errors that the
    first erosion removes, single pixels and squared errors up to 1/2, have no gradient: mix it with an overlap loss.

    Math:
        L = \frac{1}{n} \sum_i \sum_{k=1}^{K} k^\alpha\, e_{ki}
        e_{0i} = (p_i - t_i)^2, \quad e_{ki} = 2 \max \left( (B * e_{k-1})_i - \tfrac{1}{2},\; 0 \right)
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target, $n$ the number of valid pixels, $B *$
        the mean over a pixel and its neighbours along the axes, $K$ is `erosions` (10) and $\alpha$ `alpha` (2).
    Args:
        alpha: power of the number of erosions, in (0, 4], dimensionless.
        erosions: number of erosions, 1 to 20. The weight of an error stops growing at a width of twice this number.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks.
        terms: {"hausdorff_er": (N, C)}, dimensionless, mean over valid pixels.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. The error of ignored pixels is 0
        before and after each erosion.
    Source: Karimi and Salcudean 2019, eq. 9 and 10, by convolution and a soft threshold at 1/2; the factor 2 keeps an
        error of 1 at 1, where kornia divides by the range in the image, which jumps as the largest error passes 1/2.
    """

    positional = True
    means_pixels = False  # no weights
    meaningless: ClassVar[Mapping[str, str]] = {"weight": "its erosions mix the errors of neighbouring pixels"}

    def __init__(
        self,
        *,
        alpha: Alpha = 2.0,
        erosions: Annotated[int, Field(ge=1, le=20)] = 10,
        **options: Unpack[DenseOptions],
    ) -> None:
        super().__init__(**options)
        self.alpha = alpha
        self.erosions = erosions

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Return the mean over the pixels of each mask."""
        valid = pixels.valid.to(pixels.target.dtype)
        error = (pixels.probabilities() - pixels.target).square() * valid
        eroded = torch.zeros_like(error)
        for k in range(1, self.erosions + 1):
            error = soft_erosion(error) * valid
            eroded = eroded + error * float(k) ** self.alpha
        statistics = self.counted(pixels)
        values = share(eroded.flatten(2).sum(2), self.pixels(statistics))
        return {"hausdorff_er": self.class_term(values, statistics)}


def soft_erosion(error: Tensor) -> Tensor:
    """Return 2 max(mean - 1/2, 0), the mean being over a cross of pixels; values in [0, 1], (B, C, *)."""
    axes = range(2, error.ndim)
    if not axes:
        raise ShapeError(f"input has shape {tuple(error.shape)}, expected (N, C, *): erosions need an axis after C")
    neighbours = [shifted(error, axis, by, 0.0) for axis in axes for by in (1, -1)]
    mean = sum(neighbours, start=error) / (2 * len(axes) + 1)
    return torch.relu(2 * mean - 1)
