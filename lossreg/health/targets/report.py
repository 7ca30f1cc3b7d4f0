"""What `examine` takes and what it finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]


class Mask(NamedTuple):
    """One target. values: its array or tensor, of any shape but a single number; None where there is no mask."""

    name: str
    values: Any
    note: str = ""  # how it was read, where that is not plain


class Flag(NamedTuple):
    """Whether a sample has a mask, of which nothing else is known."""

    name: str
    present: bool


class Unreadable(NamedTuple):
    """A target that could not be read."""

    name: str
    reason: str


Target = Mask | Flag | Unreadable


class Bin(NamedTuple):
    """How many masks have a share of foreground in (low, high], neither empty nor full."""

    low: float
    high: float
    masks: int


class ValueCount(NamedTuple):
    """A value: in how many masks it occurs, and the share of all pixels that have it."""

    value: float
    masks: int
    pixels: float


class TargetFinding(NamedTuple):
    """One thing to know. rule: its name. masks: of how many it is true. examples: some of them, by name."""

    rule: str
    severity: Severity
    message: str
    masks: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetReport:
    """What `examine` found.

    masks: how many were read. empty: without any foreground; `missing` of these have no mask at all. full: without any
    background. ignored: without any pixel that counts; they are neither empty nor full. flags: how many of the masks
    are only known to be there or not. unreadable: how many more could not be read.
    foreground: its share of all pixels; None if there is no pixel.
    quantiles: of the share of foreground of each mask that is not empty. histogram: of all masks that are neither empty
    nor full. values: the whole numbers that occur; more_values: there are others than those listed.
    minimum, maximum: of the finite values. dtypes, shapes: how many masks have each; more_shapes: masks of others.
    """

    masks: int
    empty: int
    full: int
    missing: int
    ignored: int
    flags: int
    unreadable: int
    foreground: float | None
    quantiles: dict[str, float]
    histogram: tuple[Bin, ...]
    values: tuple[ValueCount, ...]
    more_values: bool
    minimum: float | None
    maximum: float | None
    dtypes: dict[str, int]
    shapes: dict[str, int]
    more_shapes: int
    findings: tuple[TargetFinding, ...]

    @property
    def failed(self) -> bool:
        """Whether nothing can be learned from these targets: all are empty, or none could be read."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, ready for JSON."""
        plain = asdict(self)
        for name in ("histogram", "values", "findings"):
            plain[name] = [item._asdict() for item in getattr(self, name)]
        return plain
