"""The steps compiled, for ratios of masks and plain means, where NumPy takes longer than a small mask."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, cast

import numpy as np
from torch import Tensor

from lossreg_segmentation.one_function.finish import Finish
from lossreg_segmentation.one_function.groups import Array, Errors, Ratios
from lossreg_segmentation.one_function.steps import Steps
from lossreg_segmentation.statistics.numba_cache import kept_on_disk
from lossreg_segmentation.statistics.numba_driver import Launch
from lossreg_segmentation.statistics.numba_math import EXACT
from lossreg_segmentation.statistics.request import FIELDS


def _finish(
    part: Array, matrix: Array, numbers: Array, ignoring: bool, counts: Array, kept: Array, values: Array
) -> float:
    """Compute the values of terms, kept (2, T, R): scale / denominator, and score, and the masks that count, (B,).

    values (T + E + 1, B + 1): a row for each ratio, E rows that others write, and the weighted sum of the ratios. The
    last column is the mean over examples.

    Return the mean of the weighted sum.

    part (R, chunks, 15) are the partial sums. matrix (2, T, 15, 1 or C) are the factors of numerators and denominators.
    numbers (7, T) are above, below, limit, bound, offset, scale and weight. Masks without a valid pixel do not count if
    `ignoring`.
    """
    rows, chunks, fields = part.shape
    terms, examples, by_class = matrix.shape[1], values.shape[1] - 1, matrix.shape[3] > 1
    classes, last = rows // examples, values.shape[0] - 1
    sums = np.empty(fields)
    values[:] = 0.0
    for example in range(examples):
        counts[example] = classes
        for row in range(example * classes, (example + 1) * classes if ignoring else 0):
            counts[example] -= not part[row, :, _VALID].any()
    for row in range(rows):
        sums[:] = 0.0
        for chunk in range(chunks):
            for k in range(fields):
                sums[k] += part[row, chunk, k]
        example = row // classes
        place = row % classes if by_class else 0
        for t in range(terms):
            if ignoring and sums[_VALID] == 0:
                kept[0, t, row] = kept[1, t, row] = 0.0
                continue
            above, below = numbers[0, t], numbers[1, t]
            for k in range(fields):
                if matrix[0, t, k, place] != 0:
                    above += matrix[0, t, k, place] * sums[k]
                if matrix[1, t, k, place] != 0:
                    below += matrix[1, t, k, place] * sums[k]
            bounded = below < numbers[2, t]
            below = numbers[3, t] if bounded else below
            score = above / below
            kept[0, t, row] = numbers[5, t] / below
            kept[1, t, row] = 0.0 if bounded else score  # a bounded denominator has no gradient
            value = (numbers[4, t] + numbers[5, t] * score) / counts[example]
            values[t, example] += value
            values[last, example] += numbers[6, t] * value
    for t in range(last + 1):
        values[t, examples] = values[t, :examples].sum() / examples
    mean: float = values[last, examples]
    return mean


def _factors(
    matrix: Array, numbers: Array, counts: Array, kept: Array, scale: float, factor: Array, factors: Array
) -> None:
    """Compute the factors (R, 15) of the sums in the gradient, from scale times that of each example's value, (B,)."""
    rows, fields = factors.shape
    terms, classes, by_class = matrix.shape[1], rows // len(factor), matrix.shape[3] > 1
    for row in range(rows):
        place, example = row % classes if by_class else 0, row // classes
        for k in range(fields):
            slope = 0.0
            for t in range(terms):
                above, below = matrix[0, t, k, place], matrix[1, t, k, place]
                if kept[0, t, row] != 0 and (above != 0 or below != 0):
                    each = numbers[6, t] * kept[0, t, row] * scale * factor[example] / counts[example]
                    slope += each * (above - below * kept[1, t, row])
            factors[row, k] = slope


_VALID = FIELDS.index("valid")
_OPTIONS = EXACT | {"fastmath": False}
_finish_compiled, _factors_compiled = kept_on_disk(_finish, _OPTIONS), kept_on_disk(_factors, _OPTIONS)


class CompiledSteps(Steps):
    """The steps for ratios of one policy, beside errors of predicted numbers, which are few and stay in NumPy."""

    launch: Launch

    def __init__(self, launch: Launch, finish: Finish, shape: tuple[int, ...], fields: Sequence[str]) -> None:
        super().__init__(launch, finish, shape)
        group, *self.errors = finish.counted
        ratios = cast("Ratios", group.terms)
        places = [FIELDS.index(name) for name in fields]
        matrix = ratios.matrix if ratios.matrix.ndim == 3 else ratios.matrix[..., None]
        self.matrix = np.zeros((2, ratios.count, len(FIELDS), matrix.shape[2]))
        self.matrix[:, :, places] = matrix.reshape(2, ratios.count, len(fields), -1)
        numbers = [each[:, 0] for each in (ratios.limit, ratios.bound, ratios.offset, ratios.scale, group.weights)]
        self.numbers = np.array([*ratios.constants.reshape(2, -1), *numbers])
        self.ignoring = ratios.shares.ignoring
        self.names = [*group.names, *(name for error in self.errors for name in error.names)]
        self.count, self.batch, self.masks = ratios.count, shape[1], shape[1] * shape[2]
        self.kept_shape, self.values_shape = (2, self.count, self.masks), (len(self.names) + 1, self.batch + 1)
        self.factors_shape = (self.masks, len(FIELDS))
        self.ones = np.ones(self.batch)

    @staticmethod
    def suits(finish: Finish) -> bool:
        """Return True for ratios without a policy for absent masks and without class weights, and errors."""
        if not finish.counted or finish.logged or not finish.splits or not finish.counted[0].terms.simple:
            return False
        return all(isinstance(group.terms, Errors) for group in finish.counted[1:])

    def forward(
        self, input: Tensor, target: Tensor, predicted: Array | None, weight: Tensor | None
    ) -> tuple[Array, float, Any] | None:
        """Return the value of each example, (B,), their mean, and a state; None if one is not finite."""
        kept, values, counts = np.empty(self.kept_shape), np.empty(self.values_shape), np.empty(self.batch)
        parts = self.launch.parts(input, target, weight)
        mean = _finish_compiled(parts, self.matrix, self.numbers, self.ignoring, counts, kept, values)
        errors: Sequence[Any] = ()
        if self.errors:
            sums = self.launch.added(parts)
            if not isfinite(np.add.reduce(sums, None)):
                return None
            errors = self._add_errors(sums, predicted, values)
            mean = float(values[-1, -1])
        return (
            (values[-1, :-1], mean, (kept, values, errors, counts)) if mean - mean == 0 else None
        )  # False for NaN, infinity

    def _add_errors(self, sums: Array, predicted: Array | None, values: Array) -> list[Any]:
        """Write the rows of errors, and add them to the weighted sum; return what their gradient needs."""
        kept = []
        for row, group in enumerate(self.errors, self.count):
            found, state = group.terms.values(sums, predicted)
            values[row, :-1], values[row, -1] = found[0], found[0].mean()
            values[-1] += group.weights[0] * values[row]
            kept.append(state)
        return kept

    def _to_predicted(self, kept: Sequence[Any], factors: Array) -> Array:
        with np.errstate(all="ignore"):  # an infinite gradient is no mistake of ours
            found = [
                cast("Errors", group.terms).slopes(state, group.weights * factors)[1]
                for group, state in zip(self.errors, kept, strict=True)
            ]
        total: Array = sum(found[1:], found[0])
        return total

    def table(self, state: Any) -> tuple[Sequence[str], Array]:
        """Return the names of the terms, and their values, the weighted sum in the last row, the means in a column."""
        return self.names, state[1]

    def backward(
        self,
        input: Tensor,
        target: Tensor,
        state: Any,
        factor: Any,
        mean: bool,
        logits: bool,
        weight: Tensor | None,
    ) -> tuple[Tensor | None, Array | None]:
        """Return the gradient to the logits, if wanted, and to the predicted numbers."""
        if mean:
            scale, each = factor / self.batch, self.ones
        else:
            scale, each = (1.0, factor) if len(factor) == self.batch else (factor[0], self.ones)
        to_predicted = self._to_predicted(state[2], scale * each) if self.errors else None
        if not logits:
            return None, to_predicted
        factors = np.empty(self.factors_shape, self.launch.real)
        _factors_compiled(self.matrix, self.numbers, state[3], state[0], scale, each, factors)
        return self.launch.gradient_by(factors, input, target, weight), to_predicted
