"""Terms that are computed alike, in NumPy: one row of factors for each, the values of all in a few steps.

values (T, B)     of each term and example, from the sums (K, B, C)
slopes (K, B, C)  of the sums, from the factor of each term and example
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lossreg_segmentation.one_function.tables import Table
from lossreg_segmentation.ratios import Linear, PixelMean, PredictionError, Ratio

Array = npt.NDArray[Any]


class Terms(Protocol):
    """Terms that are computed alike.

    simple: True for ratios and a plain mean over the classes, or over those that are not ignored.
    """

    simple: bool

    def values(self, sums: Array, predicted: Array | None) -> tuple[Array, Any]:
        """Return the values (T, B) and all that `slopes` needs."""

    def slopes(self, kept: Any, factors: Array) -> tuple[Array | None, Array | None]:
        """Return the gradient to the sums and to the predicted numbers, (B, C), from the factors (T, B or 1)."""


def matrix_of(forms: Sequence[Linear], fields: Sequence[str], classes: int) -> Array:
    """Return the factors of linear forms, (T, K), or (T, K, C) if some differ by class."""
    by_class = any(isinstance(factor, Tensor) and factor.numel() > 1 for form in forms for factor in form.values())
    matrix = np.zeros((len(forms), len(fields), *((classes,) if by_class else ())))
    for row, form in enumerate(forms):
        for name, factor in form.items():
            matrix[row, fields.index(name)] = array_of(factor) if isinstance(factor, Tensor) else factor
    return matrix


def array_of(factor: Tensor) -> Array:
    """Return one number per class, or one for all, in float64."""
    numbers: Array = factor.detach().double().cpu().numpy()
    return numbers if numbers.size > 1 else numbers.reshape(())


def _times(matrix: Array, vectors: Array, classes: int) -> Array:
    """Multiply a matrix (T, K) or (T, K, C) by vectors (K, R), R = B C; return (T, R)."""
    if matrix.ndim == 2:
        product: Array = matrix @ vectors
        return product
    found: Array = np.einsum("tkc,kbc->tbc", matrix, vectors.reshape(len(vectors), -1, classes))
    return found.reshape(len(matrix), -1)


class _Shares:
    """The share of each mask in its example's value, (B, C): the mean over classes, under the policy of a table."""

    def __init__(self, table: Table, fields: Sequence[str], absent: str) -> None:
        self.absent = absent
        places = {name: place for place, name in enumerate(fields)}
        self.actual, self.valid, self.predicted = (places.get(name, -1) for name in ("actual", "valid", "predicted"))
        self.ignoring = table.ignoring
        self.weights = None if table.class_weight is None else array_of(table.class_weight)
        self.plain = absent == "score" and not table.ignoring and self.weights is None

    def of(self, sums: Array) -> tuple[Array | float, Array | None]:
        """Return the shares, and the masks without target pixels whose value the policy replaces."""
        count = sums[self.valid] > 0 if self.ignoring else np.ones(sums.shape[1:], bool)
        empty = None if self.absent == "score" else sums[self.actual] == 0
        if self.absent == "ignore" and empty is not None:
            count, empty = count & ~empty, None
        weights = count.astype(float) if self.weights is None else count * self.weights
        total = weights.sum(1, keepdims=True)
        return weights / np.where(total > 0, total, 1.0), empty


class _KeptRatios(NamedTuple):
    below: Array  # (T, R)
    score: Array
    bounded: Array | None  # where the denominator is at its lower bound
    share: Array | float  # (B, C)
    empty: Array | None
    valid: Array | None


class Ratios:
    """Terms that are a ratio of each mask. R = B C."""

    def __init__(self, ratios: Sequence[Ratio], table: Table, fields: Sequence[str], classes: int) -> None:
        self.classes, self.count = classes, len(ratios)
        forms = [*(ratio.numerator for ratio in ratios), *(ratio.denominator for ratio in ratios)]
        self.matrix = matrix_of(forms, fields, classes)
        self.numerator, self.denominator = (
            self.matrix[: self.count].swapaxes(0, 1),
            self.matrix[self.count :].swapaxes(0, 1),
        )
        self.constants = np.array([[ratio.above] for ratio in ratios] + [[ratio.below] for ratio in ratios])
        self.limit, self.bound, self.offset, self.scale = (
            np.array([[getattr(ratio, name)] for ratio in ratios]) for name in ("limit", "bound", "offset", "scale")
        )
        self.bounds = any(ratio.below < ratio.limit for ratio in ratios)
        self.shares = _Shares(table, fields, table.absent)
        self.simple = self.shares.absent == "score" and self.shares.weights is None

    def values(self, sums: Array, predicted: Array | None) -> tuple[Array, _KeptRatios]:
        both = _times(self.matrix, sums.reshape(len(sums), -1), self.classes) + self.constants
        above, below = both[: self.count], both[self.count :]
        bounded = None
        if self.bounds:
            bounded = below < self.limit
            below = np.where(bounded, self.bound, below)
        score = above / below
        values = self.offset + self.scale * score
        if self.shares.plain:
            kept = _KeptRatios(below, score, bounded, 1.0 / self.classes, None, None)
            return values if self.classes == 1 else self._split(values).mean(2), kept
        share, empty = self.shares.of(sums)
        values, valid = self._split(values), None
        if empty is not None:
            if self.shares.absent == "false_positives":
                valid = sums[self.shares.valid]
                valid = np.where(valid > 0, valid, 1.0)
                values = np.where(empty, sums[self.shares.predicted] / valid, values)
            else:
                values = np.where(empty, 0.0, values)
        return (values * share).sum(2), _KeptRatios(below, score, bounded, share, empty, valid)

    def slopes(self, kept: _KeptRatios, factors: Array) -> tuple[Array, None]:
        by_value: Array = factors * kept.share if self.shares.plain else factors[..., None] * kept.share
        ratio = by_value if kept.empty is None else np.where(kept.empty, 0.0, by_value)
        if ratio.ndim == 3:
            ratio = ratio.reshape(self.count, -1)
        elif ratio.shape[1] > 1:
            ratio = ratio.repeat(self.classes, 1)
        above = self.scale * ratio / kept.below
        below = above * kept.score
        if kept.bounded is not None:
            below[kept.bounded] = 0.0
        slopes = _times(self.numerator, above, self.classes) - _times(self.denominator, below, self.classes)
        slopes = self._split(slopes)
        if kept.valid is not None:
            slopes[self.shares.predicted] += kept.empty * (by_value.sum(0) / kept.valid)
        return slopes, None

    def _split(self, flat: Array) -> Array:
        return flat.reshape(len(flat), -1, self.classes)


class PixelMeans:
    """Terms that are a mean over the pixels of all classes of an example, which may be weighted."""

    simple = False

    def __init__(self, means: Sequence[PixelMean], table: Table, fields: Sequence[str], classes: int) -> None:
        self.matrix = matrix_of([mean.summed for mean in means], fields, classes)
        self.weights = None
        if table.class_weight is not None:
            self.weights = array_of(table.class_weight)
            self.matrix = (self.matrix if self.matrix.ndim == 3 else self.matrix[..., None]) * self.weights
        self.pixels = fields.index(table.pixels if self.weights is None else "actual")

    def values(self, sums: Array, predicted: Array | None) -> tuple[Array, Array]:
        pixels = sums[self.pixels]
        # All classes have the same number of valid pixels.
        pixels = pixels[:, 0] if self.weights is None else pixels @ self.weights
        inverse = np.divide(1.0, pixels, out=np.zeros_like(pixels), where=pixels > 0)
        if self.matrix.ndim == 3:
            return np.einsum("tkc,kbc->tb", self.matrix, sums) * inverse, inverse
        return self.matrix @ sums.sum(2) * inverse, inverse

    def slopes(self, kept: Array, factors: Array) -> tuple[Array, None]:
        by_example = factors * kept  # (T, B)
        if self.matrix.ndim == 3:
            return np.einsum("tkc,tb->kbc", self.matrix, by_example), None
        return (self.matrix.T @ by_example)[..., None], None


class Errors:
    """A term that is the error of a predicted number of each mask; masks without target pixels count like others."""

    simple = False

    def __init__(self, errors: Sequence[PredictionError], table: Table, fields: Sequence[str], classes: int) -> None:
        (error,) = errors
        self.ratio = Ratios([error.ratio], table, fields, classes)
        self.power = error.power
        self.shares = _Shares(table, fields, "score")

    def values(self, sums: Array, predicted: Array | None) -> tuple[Array, Any]:
        _, kept = self.ratio.values(sums, None)
        actual = self.ratio.offset + self.ratio.scale * kept.score
        error = predicted - actual.reshape(sums.shape[1:])
        share = 1.0 / sums.shape[2] if self.shares.plain else self.shares.of(sums)[0]
        size = error * error if self.power == 2 else np.abs(error)
        return (size * share).sum(1)[None], (error, share)

    def slopes(self, kept: Any, factors: Array) -> tuple[None, Array]:
        error, share = kept
        return None, factors[0][:, None] * share * (2 * error if self.power == 2 else np.sign(error))
