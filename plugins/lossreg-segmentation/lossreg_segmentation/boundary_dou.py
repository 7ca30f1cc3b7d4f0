"""Boundary difference over union: an overlap whose intersection counts less, the more boundary a mask has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Unpack

from pydantic import Field
from torch import Tensor

from lossreg import Term, losses
from lossreg.authoring import contract
from lossreg.errors import ShapeError
from lossreg_segmentation.dense_loss import read_pixels
from lossreg_segmentation.distributed import means_over_ranks, sums_over_ranks
from lossreg_segmentation.mask_loss import MaskLoss, MaskOptions
from lossreg_segmentation.ratios import ratio
from lossreg_segmentation.segmentation_loss import required
from lossreg_segmentation.skeleton import shifted
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.choice import IMPLEMENTATIONS

CONTRACT = contract(
    input="logits",
    target="mask or class index",
    tasks=["binary", "multilabel", "multiclass"],
    implementations=IMPLEMENTATIONS,
    positional=True,
)
MOST = 0.8  # of a, so that a large mask keeps a denominator well above its numerator


@losses.register(
    "boundary_dou",
    aliases=("boundary_dou_loss",),
    tags=("segmentation", "overlap", "boundary", "binary", "multilabel", "multiclass", "logits", "imbalance"),
    contract=CONTRACT,
)
class BoundaryDoU(MaskLoss):
    r"""Overlap that counts the inside of large masks less, so that their boundaries count more.

        loss = (sum p^2 + sum t^2 - 2 sum p t + smooth) / (sum p^2 + sum t^2 - (1 + a) sum p t + smooth)
        a = min(2 (1 - (edge + smooth) / (size + smooth)) - 1, 0.8)

    size is the number of target pixels, and edge the number of those with a neighbour along an axis outside the target.
    A small mask has a near -1, and a large one 0.8. A mask without target pixels costs 1 without a gradient; `absent`
    changes that.

    Math:
        L = \frac{\sum_i p_i^2 + \sum_i t_i^2 - 2 \sum_i p_i t_i + s}{\sum_i p_i^2 + \sum_i t_i^2 - (1 + a) \sum_i
            p_i t_i + s}
        a = \min \left( 1 - 2\, \frac{E + s}{T + s},\; 0.8 \right)
        where $p_i$ is the predicted probability at pixel $i$, $t_i$ its target, $T$ the number of target pixels, $E$
        the number of those with a neighbour outside, and $s$ is `smooth` ($10^{-5}$). An empty mask costs 1; `absent`
        changes that.
    Args:
        smooth: added to all numerators and denominators, pixels, >= 0.
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) masks; at least one axis after (N, C).
        terms: {"boundary_dou": (N, C)}, in [0, 1].
    Raises:
        ShapeError: sizes differ; nothing is broadcast. No axis after (N, C).
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0. Pixels beyond the image, ignored ones
        and those of soft targets up to 1/2 are outside. The edge is found in a pass over the target of its own.
    Source: Sun et al. 2023, whose code has batch: true, two dimensions and softmax.
    """

    needs = frozenset({"product", "predicted_squared", "actual_squared"})
    means_pixels = False
    positional = True

    def __init__(self, *, smooth: Annotated[float, Field(ge=0)] = 1e-5, **options: Unpack[MaskOptions]) -> None:
        super().__init__(**options)
        self.smooth = smooth

    def terms_from(
        self, results: Iterator[MaskStatistics], input: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> dict[str, Term]:
        """Compute the terms from the sums and the edges of the target."""
        statistics, edges = next(results), self._edges(input, target, weight)
        shared = self.distributed == "global"
        if self.batch:
            statistics, edges = statistics.over_batch(), edges.over_batch()
        if self.batch and shared:
            statistics, edges = sums_over_ranks(statistics), sums_over_ranks(edges)
        terms = {"boundary_dou": self.class_term(self._values(statistics, edges), statistics)}
        return means_over_ranks(terms, input) if shared and not self.batch else terms

    def _values(self, statistics: MaskStatistics, edges: MaskStatistics) -> Tensor:
        overlap, predicted, actual = required(statistics, "product", "predicted_squared", "actual_squared")
        edge, size = (field.to(overlap.dtype) for field in required(edges, "hard_intersection", "actual"))
        inner = 1 - ratio(edge + self.smooth, size + self.smooth, self.smooth)
        factor = (2 * inner - 1).clamp_max(MOST)
        whole = predicted + actual + self.smooth
        return ratio(whole - 2 * overlap, whole - (1 + factor) * overlap, self.smooth)

    def _edges(self, input: Tensor, target: Tensor, weight: Tensor | None) -> MaskStatistics:
        """Return the size of each target mask, and the part of it that is its edge, (B, C)."""
        axes = range(2, input.ndim)
        if not axes:
            raise ShapeError(f"input has shape {tuple(input.shape)}, expected (N, C, *): an edge needs an axis after C")
        pixels = read_pixels(input.detach(), target, self.task_of(input, target), self.ignore_index, weight)
        inside = (pixels.target > 0.5) & pixels.valid
        inner = inside
        for axis in axes:
            for by in (1, -1):
                inner = inner & shifted(inside, axis, by, 0.0)
        size, edge = (pixels.sum(mask.to(pixels.target.dtype)) for mask in (inside, inside & ~inner))
        return MaskStatistics(actual=size, hard_intersection=edge)
