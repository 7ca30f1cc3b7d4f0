"""Dice for classes with distances between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Unpack

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Term, losses
from lossreg.errors import InputError, ShapeError
from lossreg_segmentation.class_numbers import as_like, numbers
from lossreg_segmentation.dense_loss import CLASSES_CONTRACT, DenseOptions, Pixels, WeightedDenseLoss
from lossreg_segmentation.ratios import ratio

Row = Annotated[Sequence[Annotated[float, Field(ge=0)]], Field(min_length=2)]
Weighting = Literal["default", "GDL"]


@losses.register(
    "wasserstein_dice",
    aliases=("wasserstein_dice_loss", "generalized_wasserstein_dice", "generalized_wasserstein_dice_loss"),
    tags=("segmentation", "overlap", "multiclass", "logits", "imbalance"),
    contract=CLASSES_CONTRACT,
)
class WassersteinDice(WeightedDenseLoss):
    r"""Dice in which the distance between two classes is the cost of confusing them.

        loss = 1 - (2 TP + smooth) / (2 TP + E + smooth)
        TP = sum_i alpha_i (1 - W_i), E = sum_i W_i, W_i = sum_c M[y_i, c] p_ci

    Math:
        L = 1 - \frac{2\,TP + s}{2\,TP + E + s}
        TP = \sum_i \alpha_i (1 - W_i), \quad E = \sum_i W_i, \quad W_i = \sum_c M_{y_i c}\, p_{ic}
        where $p_{ic}$ is the predicted probability of class $c$ at pixel $i$, $y_i$ its class, $M$ `distances` (1
        between any two classes), $\alpha_i$ is 0 for the background, else 1, and $s$ is `smooth` (1).
    Args:
        distances: M, C rows of C distances between classes, >= 0, symmetric, 0 on the diagonal; divided by the largest.
            Class 0 is the background, which should be farthest from every other class. None: 1 between any two.
        weighting: "default": alpha is 1 for foreground pixels, 0 for the background. "GDL": alpha is
            1 / (pixels of the class + 1), for the background as well, and the terms of E have the same weights.
        smooth: added to numerator and denominator, >= 0; pixels, with "GDL" in units of one whole class.
        batch: sum over the batch before the formula, as if it were one large image; with distributed="global" over the
            batches of all ranks, in one all-reduce, or two with "GDL".
    Shapes:
        input (N, C, *) logits; target (N, *) class index or (N, C, *) soft classes. For soft classes, W is the expected
        distance to the class of the pixel; its minimum is at a single class, not at p = t.
        terms: {"wasserstein_dice": (N,)}, in [0, 1]; (1,) with batch=True.
    Raises:
        ShapeError: sizes differ; nothing is broadcast. The number of classes of distances and input differs.
        InputError: invalid distances. class_weight=, background=, classes= and absent=, which have no meaning:
            classes are not averaged.
    Numerics: float32 or wider; finite for any finite logit; all ignored gives 0.
    Source: Fidon et al. 2017, section 2, W its eq. 6; "GDL": Tilborghs et al. 2020, appendix.
    """

    tasks = ("multiclass",)
    means_pixels = False
    distances: Tensor | None

    def __init__(
        self,
        *,
        distances: Annotated[Sequence[Row], Field(min_length=2)] | None = None,
        weighting: Weighting = "default",
        smooth: Annotated[float, Field(ge=0)] = 1.0,
        batch: bool = False,
        **options: Unpack[DenseOptions],
    ) -> None:
        super().__init__(**options)
        if self.class_weight is not None:
            raise InputError(
                "class_weight has no meaning for WassersteinDice, which has no mean over classes; weight mistakes by"
                " distances=, or rare classes by weighting='GDL'"
            )
        if weighting not in ("default", "GDL"):
            raise InputError(f"weighting is 'default' or 'GDL', got {weighting!r}")
        if self.leaves_out:
            raise InputError(
                "background= and classes= have no meaning for WassersteinDice, which has no mean over classes; its"
                " default weighting leaves the background out of TP"
            )
        self.no_policy_for_absent_classes()
        self.weighting = weighting
        self.smooth = smooth
        self.batch = batch
        self.class_values("distances", None if distances is None else distance_matrix(distances))

    def formula(self, pixels: Pixels, task: str) -> dict[str, Term]:
        """Return one minus the Wasserstein Dice score of each example."""
        p, t = pixels.probabilities().flatten(2), pixels.target.flatten(2)
        distance = ((self._matrix(p) @ t) * p).sum(1)  # W, (B, L); 0 for ignored pixels, whose target is 0
        # alpha is 0 for ignored pixels too.
        if self.weighting == "GDL":
            (sizes,) = self.of_batch(pixels.sum(pixels.target).unsqueeze(0))
            alpha = (t / (sizes.unsqueeze(2) + 1)).sum(1)
            errors = alpha * distance
        else:
            alpha = t[:, 1:].sum(1)
            errors = distance
        hits = alpha * (1 - distance)
        if pixels.weight is not None:
            weight = pixels.weight.flatten(1)
            hits, errors = weight * hits, weight * errors
        sums = torch.stack([hits.sum(1), errors.sum(1), pixels.valid.flatten(1).any(1).to(hits.dtype)])
        right, wrong, counted = self.of_batch(sums)
        correct = 2 * right + self.smooth
        score = ratio(correct, correct + wrong, self.smooth)
        values = torch.where(counted > 0, 1 - score, 0.0)
        return {"wasserstein_dice": Term(values, "batch" if self.batch else "example")}

    def _matrix(self, like: Tensor) -> Tensor:
        """Return the distances between the classes of `like` (B, C, L)."""
        classes = like.shape[1]
        if self.distances is None:
            return 1 - torch.eye(classes, dtype=like.dtype, device=like.device)
        if len(self.distances) != classes:
            raise ShapeError(
                f"distances is {len(self.distances)} x {len(self.distances)}, input has {classes} classes;"
                " give one row and one column per class"
            )
        return as_like(self.distances, like)


def distance_matrix(distances: Sequence[Sequence[float]]) -> Tensor:
    """Check the distances and return them, (C, C), divided by the largest."""
    sizes = [len(row) for row in distances]
    if set(sizes) != {len(sizes)}:
        raise ShapeError(f"distances must be C rows of C numbers, got {len(sizes)} rows of {sizes} numbers")
    matrix = numbers(distances)
    if not (matrix.isfinite().all() and (matrix >= 0).all()):
        raise InputError("distances contains negative or infinite numbers; give finite numbers >= 0")
    if matrix.diagonal().any():
        raise InputError(f"distances has {matrix.diagonal().tolist()} on its diagonal, which must be 0")
    if not torch.equal(matrix, matrix.T):
        first, second = (matrix != matrix.T).nonzero()[0].tolist()
        raise InputError(
            f"distances is not symmetric: [{first}][{second}] is {distances[first][second]},"
            f" [{second}][{first}] is {distances[second][first]}; make them equal"
        )
    if not matrix.any():
        raise InputError("distances is 0 between all classes, so no prediction is wrong; remove it to use 1 for all")
    return matrix / matrix.max()
