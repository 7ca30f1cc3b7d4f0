"""Statistics of a data set's masks, for a look before training: empty masks, foreground, values."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from lossreg.health.targets.arrays import as_array
from lossreg.health.targets.findings import Problems, findings
from lossreg.health.targets.report import Bin, Flag, Mask, TargetReport, Unreadable, ValueCount
from lossreg.messages import require

if TYPE_CHECKING:
    import numpy.typing as npt

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
MOST_IN_A_MASK: Final = 64  # values; masks of classes have fewer, photographs more
MOST_SHAPES: Final = 10  # in the report


def examine(masks: Iterable[object], *, ignore_index: int | None = None) -> TargetReport:
    """Return statistics of masks. Each is read once, one at a time.

    Foreground is every value above 0. A mask of several planes (C, H, W) counts as one. One-hot planes are read as
    class indices, with 0 for the background.

    Args:
        masks: arrays or tensors of any size, (H, W), (1, H, W), (C, H, W) or volumes, of booleans, integers or floats;
            or `Mask`, `Flag` and `Unreadable`, the results of `read_targets`.
        ignore_index: value of pixels that do not count.
    Raises:
        MissingLibraryError: NumPy is not installed.
        ShapeError: an array is a single number, has no pixels, or does not hold numbers.
    """
    require("numpy", extra="targets", use="check-targets")
    tally = _Tally(ignore_index)
    for number, item in enumerate(masks):
        tally.add(item if isinstance(item, (Mask, Flag, Unreadable)) else Mask(f"mask {number}", item))
    return tally.report()


@dataclass
class _Tally:
    """The counts and sums so far."""

    ignore_index: int | None
    masks: int = 0
    empty: int = 0
    full: int = 0
    flags: int = 0
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

    def add(self, item: Mask | Flag | Unreadable) -> None:
        if isinstance(item, Unreadable):
            self.problems.add("unreadable", f"{item.name}: {item.reason}")
            return
        self.masks += 1
        if isinstance(item, Flag):
            self.flags += 1
            self.empty += not item.present
        elif item.values is None:
            self.empty += 1
            self.problems.add("missing", item.name)
        else:
            if item.note:
                self.problems.add("reading", f"{item.name}: {item.note}")
            self._add_pixels(item.name, as_array(item.values))

    def report(self) -> TargetReport:
        """Return the statistics with their findings."""
        shapes = self.shapes.most_common(MOST_SHAPES)
        values = tuple(
            ValueCount(value, count, self.value_pixels[value] / max(self.pixels, 1))
            for value, count in sorted(self.value_masks.items())
        )
        counts = self.problems.counts
        report = TargetReport(
            masks=self.masks,
            empty=self.empty,
            full=self.full,
            missing=counts["missing"],
            ignored=counts["ignored"],
            flags=self.flags,
            unreadable=counts["unreadable"],
            foreground=self.foreground / self.pixels if self.pixels else None,
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

    def _add_pixels(self, name: str, values: npt.NDArray[Any]) -> None:
        import numpy as np

        self.dtypes[values.dtype.name] += 1
        self.shapes["x".join(map(str, values.shape))] += 1
        values = _class_indices(values)
        valid = values.ravel() if self.ignore_index is None else values[values != self.ignore_index]
        if values.dtype.kind == "f":
            valid = self._finite(name, valid)
        if valid.size == 0:
            self.problems.add("ignored", name)
            return
        foreground = int(np.count_nonzero(valid > 0))
        self.pixels += valid.size
        self.foreground += foreground
        self.empty += foreground == 0
        self.full += foreground == valid.size
        if foreground:
            self.shares.append(foreground / valid.size)
        low, high = float(valid.min()), float(valid.max())
        self.extent = [min([low, *self.extent[:1]]), max([high, *self.extent[1:]])]
        if low < 0:
            self.problems.add("negative", f"{name}: {low:g}")
        self._count_values(name, valid)

    def _finite(self, name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the finite values, and add a problem for the others."""
        import numpy as np

        finite: npt.NDArray[np.bool_] = np.isfinite(values)
        if finite.all():
            return values
        for rule, found in (("nan", np.isnan(values)), ("infinite", np.isinf(values))):
            if found.any():
                self.problems.add(rule, f"{name}: {np.count_nonzero(found)} pixels")
        return values[finite]

    def _count_values(self, name: str, values: npt.NDArray[Any]) -> None:
        """Count the masks and the pixels of each whole number."""
        import numpy as np

        if values.dtype.kind == "f":
            whole = values == np.floor(values)
            if not whole.all():
                self.problems.add("non-integer", f"{name}: {values[~whole][0]:g}")
                self.more_values = True
                values = values[whole]
        if values.dtype in (np.bool_, np.uint8):  # several times faster than sorting
            counts = np.bincount(values, minlength=1)
            found = np.flatnonzero(counts)
            counts = counts[found]
        else:
            found, counts = np.unique(values, return_counts=True)
        if len(found) > MOST_IN_A_MASK:
            self.problems.add("many values", f"{name}: {len(found)} values")
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            if value in self.value_masks or len(self.value_masks) < MOST_VALUES:
                self.value_masks[value] += 1
                self.value_pixels[value] += count
            else:
                self.more_values = True


def _class_indices(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return one-hot planes (C, H, W) as class indices (H, W), and any other array unchanged."""
    if values.ndim != 3 or values.shape[0] < 2:
        return values
    ones = values == 1
    if not (ones | (values == 0)).all() or not (ones.sum(axis=0) == 1).all():
        return values
    found: npt.NDArray[Any] = ones.argmax(axis=0)
    return found


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
