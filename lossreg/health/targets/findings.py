"""Findings about targets: the problem and the remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from lossreg.health.targets.report import Severity, TargetFinding, TargetReport

MOST_EXAMPLES: Final = 10  # names that are kept of each problem
USUAL_IGNORE: Final = 255

# Problems of single masks: severity, description, remedy.
_OF_MASKS: Final[dict[str, tuple[Severity, str, str]]] = {
    "unreadable": ("warning", "unreadable targets", "repair or remove them, or training will stop there"),
    "missing": (
        "warning",
        "samples without a mask, which count as empty",
        "leave them out: a loader that fills them with zeros teaches the model to predict nothing",
    ),
    "nan": ("warning", "masks with NaN, which makes the loss NaN", "replace it, or ignore these pixels"),
    "infinite": ("warning", "masks with infinities, which make the loss infinite or NaN", "replace them"),
    "negative": (
        "warning",
        "masks with values below 0, which count as background here",
        "if they mark pixels to ignore, pass --ignore-index",
    ),
    "non-integer": (
        "warning",
        "masks with fractions, which count as foreground here if they are above 0",
        "resize masks without interpolation (nearest), or use a loss for soft targets",
    ),
    "many values": (
        "warning",
        "masks with more than 64 values each, like photographs and numbered objects",
        "check that the path is that of the masks; for foreground alone, replace every number above 0 by 1",
    ),
    "ignored": (
        "warning",
        "masks without a valid pixel: all are ignored or not finite",
        "leave them out, because there is nothing to learn from them",
    ),
    "reading": ("note", "masks that are not plain images of one channel", "check how they were read"),
}


@dataclass
class Problems:
    """The problems of single masks, by rule: the number of masks, and the names of the first few."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, rule: str, example: str) -> None:
        """Add a mask that has the problem."""
        self.counts[rule] += 1
        named = self.examples.setdefault(rule, [])
        if len(named) < MOST_EXAMPLES:
            named.append(example)


def findings(report: TargetReport, problems: Problems) -> tuple[TargetFinding, ...]:
    """Return all findings, the worst first.

    Args:
        report: the statistics, without findings.
        problems: those of single masks.
    """
    found = [*_of_all(report), *_of_values(report)]
    for rule, (severity, description, remedy) in _OF_MASKS.items():
        if count := problems.counts[rule]:
            message = f"{description}: {count:,}; {remedy}"
            found.append(TargetFinding(rule, severity, message, count, tuple(problems.examples[rule])))
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def _of_all(report: TargetReport) -> Iterator[TargetFinding]:
    """Yield findings about all masks together: none, mostly empty, mostly full."""
    masks, empty, full = report.masks, report.empty, report.full
    name = "rows" if report.flags else "masks"
    if masks == 0:
        reason = "none is readable" if report.unreadable else "there are no targets"
        yield TargetFinding("no masks", "error", f"no mask to learn from: {reason}; check the path and the files", 0)
    elif empty == masks:
        message = (
            f"all {masks:,} {name} are empty: a model learns to predict nothing, and the loss goes to 0; check that the"
            " annotations are found (their paths, which samples have any, the value of the foreground) before training"
        )
        yield TargetFinding("all empty", "error", message, empty)
    elif report.ignored == masks:
        message = f"all {masks:,} masks have no valid pixel; check --ignore-index and how the masks are made"
        yield TargetFinding("all ignored", "error", message, masks)
    elif 2 * empty > masks:
        message = (
            f"{empty:,} of {masks:,} {name} ({empty / masks:.1%}) are empty: a model may collapse to predicting"
            " nothing; if annotations are missing, leave these samples out (or absent='ignore' in losses that have"
            " it); if the samples are really empty, sample examples with foreground more often; train with a"
            " LossMonitor"
        )
        yield TargetFinding("mostly empty", "warning", message, empty)
    if 2 * full > masks:
        message = (
            f"{full:,} of {masks:,} masks ({full / masks:.1%}) are full, without any background; check that the"
            " background is 0 and that masks are not inverted"
        )
        yield TargetFinding("mostly full", "warning", message, full)


def _of_values(report: TargetReport) -> Iterator[TargetFinding]:
    """Yield findings about the values of the foreground: a scaled 1, or ignored pixels beside classes."""
    above = [row.value for row in report.values if row.value > 0]
    filled = report.masks - report.empty
    if len(above) == 1 and above[0] != 1:
        value = f"{above[0]:g}"
        others = "" if above[0] >= USUAL_IGNORE else f"; if {value} is a class index, this is the only class"
        message = f"the foreground is {value}, but losses of masks need 1: divide by {value}{others}"
        yield TargetFinding("scaled", "warning", message, filled)
    elif USUAL_IGNORE in above and max(above) == USUAL_IGNORE and above[-2] < USUAL_IGNORE - 1:
        message = (
            "255 occurs beside smaller values: if it marks pixels to ignore, pass --ignore-index 255; if some masks"
            " hold 0 and 255 and others 0 and 1, divide the former by 255"
        )
        yield TargetFinding("255 beside classes", "warning", message, filled)
