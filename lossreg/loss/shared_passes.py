"""Passes over the inputs, which the losses of a sum share where they can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Pass(Protocol):
    """Computation on the inputs that several losses can have in common, such as sums over all pixels."""

    def merged(self, other: Any) -> Pass | None:
        """Return one pass whose result serves both; None if they have nothing in common."""

    def compute(self) -> Any:
        """Return the result."""


def computed(passes: Iterable[Pass]) -> list[Any]:
    """Return the result of each pass, in their order; passes that merge are computed once."""
    merged: list[Pass] = []
    places = []
    for one in passes:
        for place, other in enumerate(merged):
            both = other.merged(one)
            if both is not None:
                merged[place] = both
                break
        else:
            place = len(merged)
            merged.append(one)
        places.append(place)
    results = [each.compute() for each in merged]
    return [results[place] for place in places]
