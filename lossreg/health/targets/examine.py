"""Statistics of masks, to be looked at before training: how many are empty, how large is what they mark."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lossreg.errors import ShapeError
from lossreg.health.targets.findings import Problems, findings
from lossreg.health.targets.report import Bin, Flag, Mask, TargetReport, Unreadable, ValueCount
from lossreg.messages import require

if TYPE_CHECKING:
    import numpy.typing as npt

# Of the foreground's share, between "empty" and "full". Evenly spaced in its logarithm: tiny objects matter.
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
MOST_VALUES: Final = 256  # that are counted apart; more are no classes
MOST_IN_A_MASK: Final = 64  # values; masks of classes have fewer, photographs more
MOST_SHAPES: Final = 10  # that are listed


def examine(masks: Iterable[object], *, ignore_index: int | None = None) -> TargetReport:
    """Look at every mask once, and at one at a time.

    Foreground is every value above 0. A mask of several planes (C, H, W) counts as one; where its planes are one-hot,
    it is read as class indices, of which 0 is the background.

    Args:
        masks: arrays or tensors of any size, (H, W), (1, H, W), (C, H, W) or volumes, of booleans, integers or floats;
            or `Mask`, `Flag` and `Unreadable`, as `read_targets` gives them.
        ignore_index: a value whose pixels do not count.
    Raises:
        MissingLibraryError: NumPy is not installed.
        ShapeError: an array is a single number, or not of numbers.
    """
    require("numpy", extra="targets", use="check-targets")
    tally = _Tally(ignore_index)
    for number, item in enumerate(masks):
        tally.add(item if isinstance(item, (Mask, Flag, Unreadable)) else Mask(f"mask {number}", item))
    return tally.report()


def as_array(values: Any) -> npt.NDArray[Any]:
    """A tensor, an array or nested lists as an array of numbers with at least one dimension.

    Raises:
        ShapeError: it is a single number, has no pixels, or is not made of numbers.
    """
    import numpy as np

    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values  # which NumPy lacks
    try:
        found = np.asarray(values)
    except (TypeError, ValueError) as error:  # lists of unequal length
        raise ShapeError(f"expected an array of numbers: {error}") from error
    if found.dtype.kind not in "biuf":
        raise ShapeError(f"expected booleans, integers or floats, got dtype {found.dtype}")
    if found.ndim == 0:
        raise ShapeError(f"expected a mask (H, W), got the number {found.item()!r}; a class label is no mask")
    if found.size == 0:
        raise ShapeError(f"expected a mask (H, W), got shape {found.shape} without any pixel")
    return found


@dataclass
class _Tally:
    """What is known so far."""

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
    extent: list[float] = field(default_factory=list)  # lowest and highest value
    dtypes: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    problems: Problems = field(default_factory=Problems)

    def add(self, item: Mask | Flag | Unreadable) -> None:
        if isinstance(item, Unreadable):
            self.problems.note("unreadable", f"{item.name}: {item.reason}")
            return
        self.masks += 1
        if isinstance(item, Flag):
            self.flags += 1
            self.empty += not item.present
        elif item.values is None:
            self.empty += 1
            self.problems.note("missing", item.name)
        else:
            if item.note:
                self.problems.note("reading", f"{item.name}: {item.note}")
            self._add_pixels(item.name, as_array(item.values))

    def report(self) -> TargetReport:
        """The statistics, and what to say of them."""
        shapes = self.shapes.most_common(MOST_SHAPES)
        values = tuple(
            ValueCount(value, count, self.value_pixels[value] / max(self.pixels, 1))
            for value, count in sorted(self.value_masks.items())
        )
        counts = self.problems.counts
        return TargetReport(
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
            findings=findings(
                self.masks, self.empty, self.full, self.flags, [row.value for row in values], self.problems
            ),
        )

    def _add_pixels(self, name: str, values: npt.NDArray[Any]) -> None:
        import numpy as np

        self.dtypes[values.dtype.name] += 1
        self.shapes["x".join(map(str, values.shape))] += 1
        values = _class_indices(values)
        valid = values.ravel() if self.ignore_index is None else values[values != self.ignore_index]
        if values.dtype.kind == "f":
            valid = self._finite(name, valid)
        if valid.size == 0:
            self.problems.note("ignored", name)
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
            self.problems.note("negative", f"{name}: {low:g}")
        self._count_values(name, valid)

    def _finite(self, name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The finite ones; the others are noted."""
        import numpy as np

        finite: npt.NDArray[np.bool_] = np.isfinite(values)
        if finite.all():
            return values
        for rule, found in (("nan", np.isnan(values)), ("infinite", np.isinf(values))):
            if found.any():
                self.problems.note(rule, f"{name}: {np.count_nonzero(found)} pixels")
        return values[finite]

    def _count_values(self, name: str, values: npt.NDArray[Any]) -> None:
        """In how many masks each whole number is, and in how many pixels."""
        import numpy as np

        if values.dtype.kind == "f":
            whole = values == np.floor(values)
            if not whole.all():
                self.problems.note("non-integer", f"{name}: {values[~whole][0]:g}")
                self.more_values = True
                values = values[whole]
        if values.dtype in (np.bool_, np.uint8):  # several times as fast as sorting them
            counts = np.bincount(values, minlength=1)
            found = np.flatnonzero(counts)
            counts = counts[found]
        else:
            found, counts = np.unique(values, return_counts=True)
        if len(found) > MOST_IN_A_MASK:
            self.problems.note("many values", f"{name}: {len(found)} values")
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            if value in self.value_masks or len(self.value_masks) < MOST_VALUES:
                self.value_masks[value] += 1
                self.value_pixels[value] += count
            else:
                self.more_values = True


def _class_indices(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(C, H, W) of which exactly one plane is 1 everywhere: the number of that plane. Everything else as it is."""
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
