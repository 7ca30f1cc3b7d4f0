"""The sum of what single targets add to the report."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from lossreg.health.targets.findings import findings
from lossreg.health.targets.measure import Measurement
from lossreg.health.targets.pixels import Pixels
from lossreg.health.targets.problems import Problems
from lossreg.health.targets.report import Bin, Coloured, Flag, TargetReport, Unreadable, ValueCount

# Bins of the foreground's share, between "empty" and "full". Evenly spaced in its logarithm: tiny objects matter.
EDGES: Final = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
QUANTILES: Final = {
    "minimum": 0.0,
    "5 %": 0.05,
    "25 %": 0.25,
    "median": 0.5,
    "75 %": 0.75,
    "95 %": 0.95,
    "maximum": 1.0,
}
MOST_VALUES: Final = 256  # values with their own count; classes are fewer
MOST_SHAPES: Final = 10  # in the report


@dataclass
class Tally:
    """The counts and sums so far. thin: the pixels of thin foreground; None if they are not measured."""

    thin: int | None = None
    kinds: Counter[type] = field(default_factory=Counter)
    empty: int = 0
    full: int = 0
    pixels: int = 0
    foreground: int = 0
    shares: array[float] = field(default_factory=lambda: array("d"))  # of the masks that have foreground
    value_masks: Counter[float] = field(default_factory=Counter)
    value_pixels: Counter[float] = field(default_factory=Counter)
    more_values: bool = False
    extent: list[float] = field(default_factory=list)  # minimum and maximum
    dtypes: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    problems: Problems = field(default_factory=Problems)

    def add(self, found: Measurement) -> None:
        """Add a target."""
        self.kinds[found.kind] += 1
        self.empty += found.empty
        for rule, example in found.problems:
            self.problems.add(rule, example)
        self.problems.colours.update(found.colours)
        if found.pixels is None:
            return
        self.dtypes[found.dtype] += 1
        self.shapes[found.shape] += 1
        self.problems.add_palette(found.name, found.palette)
        self.problems.classes.update(found.pixels.classes)
        if found.pixels.total:
            self._add_pixels(found.pixels)

    def report(self) -> TargetReport:
        """Return the statistics with their findings."""
        shapes = self.shapes.most_common(MOST_SHAPES)
        values = tuple(
            ValueCount(value, count, self.value_pixels[value] / max(self.pixels, 1))
            for value, count in sorted(self.value_masks.items())
        )
        counts = self.problems.counts
        report = TargetReport(
            masks=self.kinds.total() - self.kinds[Unreadable],
            empty=self.empty,
            full=self.full,
            missing=counts["missing"],
            ignored=counts["ignored"],
            flags=self.kinds[Flag],
            coloured=self.kinds[Coloured],
            unreadable=self.kinds[Unreadable],
            foreground=self.foreground / self.pixels if self.pixels else None,
            thin=self.thin / self.foreground if self.thin is not None and self.foreground else None,
            quantiles=_quantiles(self.shares),
            histogram=_histogram(self.shares),
            values=values,
            more_values=self.more_values,
            minimum=self.extent[0] if self.extent else None,
            maximum=self.extent[1] if self.extent else None,
            dtypes=dict(self.dtypes.most_common()),
            shapes=dict(shapes),
            more_shapes=self.shapes.total() - sum(count for _, count in shapes),
        )
        return replace(report, findings=findings(report, self.problems))

    def _add_pixels(self, found: Pixels) -> None:
        self.pixels += found.total
        self.foreground += found.foreground
        self.full += found.foreground == found.total
        if self.thin is not None:
            self.thin += found.thin
        if found.foreground:
            self.shares.append(found.foreground / found.total)
        self.extent = [min([found.low, *self.extent[:1]]), max([found.high, *self.extent[1:]])]
        self.more_values |= found.more
        for value, count in sorted(found.counts.items()):
            if value in self.value_masks or len(self.value_masks) < MOST_VALUES:
                self.value_masks[value] += 1
                self.value_pixels[value] += count
            else:
                self.more_values = True


def _quantiles(shares: array[float]) -> dict[str, float]:
    import numpy as np

    if not shares:
        return {}
    found = np.quantile(np.frombuffer(shares), list(QUANTILES.values()))
    return dict(zip(QUANTILES, map(float, found), strict=True))


def _histogram(shares: array[float]) -> tuple[Bin, ...]:
    import numpy as np

    between = np.frombuffer(shares)[np.frombuffer(shares) < 1] if shares else np.zeros(0)
    places = np.searchsorted(EDGES, between, side="left")  # edge i - 1 < share <= edge i
    counts = np.bincount(places, minlength=len(EDGES))[1:].tolist()
    return tuple(map(Bin, EDGES[:-1], EDGES[1:], counts))
