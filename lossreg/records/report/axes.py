"""Axes of the report's charts: round numbers, their positions, and the text of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MISSING = "\N{EN DASH}"
DECADES = 100  # a positive axis that spans more than this factor is logarithmic
TINY = 1e-300  # below, steps lose their digits


class Tick(NamedTuple):
    """A label on an axis, and its position: 0 to 1."""

    at: float
    label: str


class Axis(NamedTuple):
    """The range of an axis, low < high; on a logarithmic axis, 0 < low."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Compute the position of a value: 0 to 1 within the range."""
        if not self.log:
            return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)  # halves: no difference overflows
        start = math.log(self.low)
        return (math.log(max(value, self.low / 10)) - start) / (math.log(self.high) - start)

    def ticks(self, count: int = 5) -> list[Tick]:
        """Choose round numbers within the range, about `count` of them."""
        numbers = self._decades(count) if self.log else self._multiples(count)
        labels = [f"{number:g}" for number in numbers] if self.log else tick_labels(numbers)
        return [Tick(self.place(number), label) for number, label in zip(numbers, labels, strict=True)]

    def _multiples(self, count: int) -> list[float]:
        step = round_step(self.low, self.high, count)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 15 - _exponent(step)) for number in range(first, last + 1)]

    def _decades(self, count: int) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [float(f"1e{power}") for power in range(first, last + 1, max(1, -((first - last) // count)))]


def axis(values: Iterable[float], *, may_be_log: bool = True) -> Axis:
    """Choose the range of one or more finite numbers. It starts at 0 if they are near."""
    found = list(values)
    low, high = min(found), max(found)
    if may_be_log and low > 0 and high / low > DECADES:
        return Axis(low, high, log=True)
    if high / 2 - low / 2 <= max(1e-9 * max(abs(low), abs(high)), TINY):
        margin = abs(low) / 2 if abs(low) > TINY else 1.0
        return Axis(low - margin, high + margin)
    if 0 < low < 0.5 * high:
        low = 0.0
    return Axis(low, high)


def round_step(low: float, high: float, count: int) -> float:
    """Choose a step of 1, 2 or 5 times a power of ten, so that about `count` fit between low < high."""
    rough = max(high / count - low / count, TINY)
    power = _exponent(rough)
    factor = next((factor for factor in (1, 2, 5) if float(f"{factor}e{power}") >= rough * (1 - 1e-9)), 10)
    return float(f"{factor}e{power}")


def tick_labels(numbers: Sequence[float]) -> list[str]:
    """Write the numbers of one axis in one format: with the same decimals, 20k for 20,000, 2e-07 for tiny ones."""
    largest = max((abs(number) for number in numbers), default=0.0)
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size <= largest < 1e12:
            return [f"{number / (1e3 if unit == 'k' else size):.6g}{unit if number else ''}" for number in numbers]
    if largest and not 1e-3 <= largest < 1e12:
        return [f"{number:.3g}" for number in numbers]
    decimals = next((d for d in range(10) if all(math.isclose(round(n, d), n, abs_tol=1e-12) for n in numbers)), 10)
    return [f"{number:,.{decimals}f}" for number in numbers]


def decimals_for(typical: float | None) -> int:
    """Count the decimals that show four digits of a number, at most 6."""
    if not typical or not math.isfinite(typical):
        return 4
    return min(6, max(0, 3 - max(-1, _exponent(typical))))


def loss_text(value: float | None, decimals: int) -> str:
    """Write a loss as a cell of a table; in powers of ten if the decimals do not show it."""
    if value is None:
        return MISSING
    if value and not 10.0**-decimals <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:,.{decimals}f}"


def _exponent(number: float) -> int:
    return math.floor(math.log10(abs(number)))
