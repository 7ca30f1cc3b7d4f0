"""The problems of single masks, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

MOST_EXAMPLES: Final = 10  # names that are kept of each problem
BLACK: Final = "#000000"


@dataclass
class Problems:
    """The problems by rule: the number of masks, and the names of the first few.

    classes: how many interpolated masks had a value before. colours: how many coloured masks have a colour.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    classes: Counter[float] = field(default_factory=Counter)
    colours: Counter[str] = field(default_factory=Counter)
    palette: dict[int, str] = field(default_factory=dict)

    def add(self, rule: str, example: str) -> None:
        """Add a mask that has the problem."""
        self.counts[rule] += 1
        named = self.examples.setdefault(rule, [])
        if len(named) < MOST_EXAMPLES:
            named.append(example)

    def add_palette(self, name: str, palette: tuple[tuple[int, str], ...]) -> None:
        """Add the colours of a mask, which should be the same in all."""
        for index, colour in palette:
            if (before := self.palette.setdefault(index, colour)) != colour:
                self.add("palettes", f"{name}: value {index} is {colour}, elsewhere {before}")
                return
        colours = dict(palette)
        black = [index for index, colour in palette if colour == BLACK]
        if black and colours.get(0, BLACK) != BLACK:
            self.add("palette order", f"{name}: value 0 is {colours[0]}, value {black[0]} is black")
