"""The tables of a loss as tensors on a device, in the order in which `triton_finish` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossreg_segmentation.one_function.groups import array_of, matrix_of
from lossreg_segmentation.one_function.tables import Table
from lossreg_segmentation.ratios import Formula, PixelMean, PredictionError, Ratio
from lossreg_segmentation.statistics.plain import is_capturing

# The kinds of terms, in their order.
KINDS = {Ratio: "RATIOS", PixelMean: "MEANS", PredictionError: "ERRORS"}
PLACES = ("actual", "valid", "predicted")


class DeviceTables:
    """The terms of all tables, first ratios, then means over pixels, then errors of predicted numbers.

    matrix: factors of the sums in numerator and denominator, (T, 2, K, C), or (T, 2, K, 1) if none differs by class.
    weights: of the classes, (T, C).
    numbers: of each term, in the order of `triton_finish`.
    """

    def __init__(
        self, tables: Sequence[Table], fields: Sequence[str], classes: int, device: torch.device, activation: str
    ) -> None:
        terms, softmax = list[tuple[str, Formula, Table]](), activation == "softmax"
        for table in tables:
            for name, formula in table.formulas.items():
                one = formula.of_masks() if isinstance(formula, PixelMean) and not softmax else formula
                terms.append((name, one, table))
        order = list(KINDS)
        terms.sort(key=lambda term: order.index(type(term[1])))
        self.names = [name for name, _, _ in terms]
        self.kinds = {kind: sum(type(one) is cls for _, one, _ in terms) for cls, kind in KINDS.items()}
        matrix = matrix_of([form for _, one, _ in terms for form in _forms(one)], fields, classes)
        some = any(one.weight != 0 for _, one, _ in terms)
        numbers = [_numbers(one, table, counted=one.weight != 0 or not some) for _, one, table in terms]
        weights = np.ones((len(terms), classes))
        for row, (_, _, table) in zip(weights, terms, strict=True):
            if table.class_weight is not None:
                row[:] = array_of(table.class_weight)
        self.by_class, self.weighted = (
            int(matrix.ndim == 3),
            int(any(table.class_weight is not None for table in tables)),
        )
        self.places = [fields.index(name) if name in fields else -1 for name in PLACES]
        self.matrix, self.weights, self.numbers = _on(device, matrix, weights, np.array(numbers))
        self.copied_on = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def wait(self) -> None:
        """Wait, on the first use by another stream, for the stream that copies the tables; never in a capture."""
        if self.copied_on is None or is_capturing(self.matrix.device):
            return
        if torch.cuda.current_stream(self.matrix.device) != self.copied_on:
            self.copied_on.synchronize()
            self.copied_on = None


def _ratio_of(one: Any) -> Ratio:
    """Return the ratio of masks in a formula."""
    if isinstance(one, PixelMean):
        return Ratio(one.summed, {})
    ratio: Ratio = one.ratio if isinstance(one, PredictionError) else one
    return ratio


def _forms(one: Any) -> tuple[Any, Any]:
    ratio = _ratio_of(one)
    return ratio.numerator, ratio.denominator


def _numbers(one: Any, table: Table, *, counted: bool) -> list[float]:
    ratio = _ratio_of(one)
    of_ratio = [ratio.above, ratio.below, ratio.bound, ratio.offset, ratio.scale]
    absent = "score" if isinstance(one, PredictionError) else table.absent
    replaced = absent in ("zero", "false_positives")
    policy = [table.ignoring, absent == "ignore", replaced, absent == "false_positives"]
    squared = isinstance(one, PredictionError) and one.power == 2
    return [*of_ratio, one.weight, counted, *policy, table.class_weight is not None, squared]


def _on(device: torch.device, *arrays: Any) -> tuple[Tensor, ...]:
    """Return arrays on a device by one copy that nothing waits for: a sum with a schedule makes tables in each step."""
    sizes = [array.size + array.size % 2 for array in arrays]  # so that each begins at 16 bytes
    flat = np.zeros(sum(sizes))
    for first, array in zip(np.cumsum([0, *sizes]), arrays, strict=False):
        flat[first : first + array.size] = array.reshape(-1)
    found = torch.from_numpy(flat)
    found = found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found.to(device)
    views: tuple[Tensor, ...] = found.split(sizes)
    return views
