"""From the sums of masks to the terms of a loss and back, in NumPy: a few steps for any number of terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lossreg_segmentation.one_function.groups import Array, Errors, PixelMeans, Ratios, Terms
from lossreg_segmentation.one_function.tables import Table
from lossreg_segmentation.ratios import Formula, PixelMean, PredictionError, Ratio
from lossreg_segmentation.statistics.request import DIFFERENTIABLE


class _Group(NamedTuple):
    """Terms of one table that are computed alike, all with a weight or all only logged."""

    names: list[str]
    terms: Terms
    weights: Array  # (T, 1)
    batch: bool


class Finish:
    """The terms of all tables of a loss, for the sums `fields` of a pass."""

    def __init__(self, tables: Sequence[Table], fields: Sequence[str], classes: int, softmax: bool) -> None:
        self.names = [name for table in tables for name in table.formulas]
        self.of_batch = {name for table in tables if table.batch for name in table.formulas}
        weighted = any(formula.weight != 0 for table in tables for formula in table.formulas.values())
        # False where only predicted numbers are trained, such as the IoU of masks.
        self.differentiable = self.trains_predicted = False
        self.counted = list[_Group]()
        self.logged = list[_Group]()  # terms of weight 0; if all are, they count, so that a total of 0 keeps its graph
        for table in _merged(tables):
            zero = {name: formula for name, formula in table.formulas.items() if weighted and formula.weight == 0}
            rest = {name: formula for name, formula in table.formulas.items() if name not in zero}
            for formula in rest.values():
                differentiable = not isinstance(formula, PredictionError) and formula.sums & DIFFERENTIABLE
                self.differentiable = self.differentiable or bool(differentiable)
                self.trains_predicted = self.trains_predicted or isinstance(formula, PredictionError)
            self.counted += _groups(table, rest, fields, classes, softmax)
            self.logged += _groups(table, zero, fields, classes, softmax)
        self.splits = not any(group.batch for group in self.counted)

    def weighted(self, kept: Sequence[Any]) -> Array:
        """Return the weighted sum of the terms of each example, (B,)."""
        parts = [
            np.add.reduce(group.weights * values, 0) for group, (values, _) in zip(self.counted, kept, strict=True)
        ]
        if not self.splits:
            parts = [part.mean(keepdims=True) for part in parts]
        total: Array = sum(parts[1:], parts[0])
        return total

    def total(self, sums: Array, predicted: Array | None) -> tuple[Array, list[Any]]:
        """Return the weighted sum of the terms of each example, (B,), or of the batch, (1,), and all for `slopes`."""
        kept = [
            group.terms.values(sums.sum(1, keepdims=True) if group.batch else sums, predicted) for group in self.counted
        ]
        return self.weighted(kept), kept

    def terms(self, sums: Array, predicted: Array | None, kept: Sequence[Any]) -> dict[str, Array]:
        """Return the values of every term, (B,), or (1,) for one of the whole batch, in the order of the tables."""
        found: dict[str, Array] = {}
        for group, (values, _) in zip(self.counted, kept, strict=True):
            found |= dict(zip(group.names, values, strict=True))
        for group in self.logged:
            values, _ = group.terms.values(sums.sum(1, keepdims=True) if group.batch else sums, predicted)
            found |= dict(zip(group.names, values, strict=True))
        return {name: found[name] for name in self.names}

    def slopes(
        self, kept: Sequence[Any], factor: Any, mean: bool, shape: tuple[int, ...]
    ) -> tuple[Array, Array | None]:
        """Return the gradient to the sums, of `shape` (K, B, C), and to the predicted numbers, (B, C).

        Args:
            factor: of each example's value, (B,), or (1,) for all.
            mean: True if it is a float, the factor of the mean over examples, and of the value of the batch.
        """
        slopes = to_predicted = None
        for group, (_, state) in zip(self.counted, kept, strict=True):
            each = factor / shape[1] if mean and not group.batch else factor
            more, errors = group.terms.slopes(state, group.weights * each)
            if more is not None:
                slopes = more if slopes is None else slopes + more
            if errors is not None:
                to_predicted = errors if to_predicted is None else to_predicted + errors
        if slopes is None:
            slopes = np.zeros(shape)
        return slopes if slopes.shape == shape else slopes + np.zeros(shape), to_predicted


def _merged(tables: Sequence[Table]) -> list[Table]:
    """Return one table for each policy: terms of several losses are computed alike."""
    found: dict[Any, Table] = {}
    for table in tables:
        weights = None if table.class_weight is None else id(table.class_weight)
        policy = table.absent, table.ignoring, weights, table.batch, table.pixels
        known = found.get(policy)
        found[policy] = table if known is None else replace(known, formulas={**known.formulas, **table.formulas})
    return list(found.values())


def _groups(
    table: Table, formulas: Mapping[str, Formula], fields: Sequence[str], classes: int, softmax: bool
) -> Iterator[_Group]:
    """Yield the groups of a table's formulas."""
    alike: dict[Any, dict[str, Any]] = {}
    for name, formula in formulas.items():
        one = formula.of_masks(table.pixels) if isinstance(formula, PixelMean) and not softmax else formula
        alike.setdefault(type(one) if not isinstance(one, PredictionError) else name, {})[name] = one
    for members in alike.values():
        ones = list(members.values())
        weights = np.array([[float(one.weight)] for one in ones])
        yield _Group(list(members), _KINDS[type(ones[0])](ones, table, fields, classes), weights, table.batch)


_KINDS: dict[type, Any] = {Ratio: Ratios, PixelMean: PixelMeans, PredictionError: Errors}
