"""The input and the result of `examine`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]


class Mask(NamedTuple):
    """One target. values: an array or tensor with at least one dimension; None if the sample has no mask.

    note: how it was read, unless it is a plain image. palette: the colours of its values, if they are indices of one.
    alpha: True if the values are the transparency of an image. problems: of its image, pairs of rule and example.
    """

    name: str
    values: Any
    note: str = ""
    palette: tuple[tuple[int, str], ...] = ()
    alpha: bool = False
    problems: tuple[tuple[str, str], ...] = ()


class Coloured(NamedTuple):
    """A target whose classes are colours. colours: the first of them; () if there are too many to be classes."""

    name: str
    colours: tuple[str, ...]


class Flag(NamedTuple):
    """The presence of a mask, without its pixels."""

    name: str
    present: bool


class Unreadable(NamedTuple):
    """A target that cannot be read."""

    name: str
    reason: str


Target = Mask | Coloured | Flag | Unreadable


class Bin(NamedTuple):
    """A bin of the histogram: the number of masks with a share of foreground in (low, high], without full masks."""

    low: float
    high: float
    masks: int


class ValueCount(NamedTuple):
    """A value of the masks. masks: number of masks with it. pixels: share of all pixels with it."""

    value: float
    masks: int
    pixels: float


class TargetFinding(NamedTuple):
    """A finding about the targets. masks: number of masks with it. examples: names of the first of them."""

    rule: str
    severity: Severity
    message: str
    masks: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetReport:
    """The result of `examine`.

    masks: number of readable targets. empty: masks without foreground. missing: empty masks that are absent. full:
    masks without background. ignored: masks without a valid pixel, neither empty nor full. flags: masks given by
    `Flag`, without pixels. coloured: masks given by `Coloured`, without pixels and not empty. unreadable: targets that
    cannot be read, not among `masks`.
    foreground: its share of all pixels; None without pixels. thin: share of the foreground that is lines a few pixels
    wide; None unless measured.
    quantiles: of the share of foreground, over the masks that are not empty. histogram: the masks that are neither
    empty nor full. values: the whole numbers in the masks; more_values: True if there are other values.
    minimum, maximum: of the finite values. dtypes, shapes: number of masks of each. more_shapes: masks of other shapes.
    """

    masks: int
    empty: int
    full: int
    missing: int
    ignored: int
    flags: int
    coloured: int
    unreadable: int
    foreground: float | None
    thin: float | None
    quantiles: dict[str, float]
    histogram: tuple[Bin, ...]
    values: tuple[ValueCount, ...]
    more_values: bool
    minimum: float | None
    maximum: float | None
    dtypes: dict[str, int]
    shapes: dict[str, int]
    more_shapes: int
    findings: tuple[TargetFinding, ...] = ()

    @property
    def failed(self) -> bool:
        """Return True if a training on these targets goes wrong, as where all are empty or the classes are lost."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        plain = asdict(self)
        for name in ("histogram", "values", "findings"):
            plain[name] = [item._asdict() for item in getattr(self, name)]
        return plain
