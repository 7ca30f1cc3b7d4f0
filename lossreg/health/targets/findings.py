"""What is wrong with targets, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lossreg.health.targets.report import Severity, TargetFinding

MOST_EXAMPLES: Final = 10  # names that are kept of each problem
USUAL_IGNORE: Final = 255

# What is told of single masks: severity, what they are, and what to do.
_OF_MASKS: Final[dict[str, tuple[Severity, str, str]]] = {
    "unreadable": ("warning", "targets that could not be read", "repair or remove them, or training will stop there"),
    "missing": (
        "warning",
        "samples without a mask, which count as empty",
        "a loader that fills them with zeros teaches emptiness; leave them out",
    ),
    "nan": ("warning", "masks with NaN, which makes the loss NaN", "replace it, or ignore these pixels"),
    "infinite": ("warning", "masks with infinities, which make the loss infinite or NaN", "replace them"),
    "negative": (
        "warning",
        "masks with values below 0, which count as background here",
        "if they mark pixels to ignore, say so with --ignore-index",
    ),
    "non-integer": (
        "warning",
        "masks with values that are no whole numbers, of which those above 0 count as foreground here",
        "resize masks without interpolation (nearest), or use a loss that takes soft targets",
    ),
    "many values": (
        "warning",
        "masks of more than 64 values each, as photographs and numbered objects have",
        "check that the path is that of the masks; for foreground alone, make every number above 0 a 1",
    ),
    "ignored": (
        "warning",
        "masks without a pixel that counts, every one being ignored or not finite",
        "nothing is learned from them; leave them out",
    ),
    "reading": ("note", "masks that are not plain images of one channel", "see how they were read"),
}


@dataclass
class Problems:
    """Which masks have which problem: all are counted, the first few are named."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, rule: str, example: str) -> None:
        """One more mask has it."""
        self.counts[rule] += 1
        named = self.examples.setdefault(rule, [])
        if len(named) < MOST_EXAMPLES:
            named.append(example)


def findings(
    masks: int, empty: int, full: int, flags: int, values: Sequence[float], problems: Problems
) -> tuple[TargetFinding, ...]:
    """Everything that is to be told, the worst first.

    Args:
        masks: how many were read; `empty`, `full` and `flags` of them are so.
        values: the whole numbers that occur.
        problems: what was noted of single masks.
    """
    found = [*_of_all(masks, empty, full, flags, problems), *_of_values(values, masks - empty)]
    for rule, (severity, what, advice) in _OF_MASKS.items():
        if count := problems.counts[rule]:
            found.append(
                TargetFinding(rule, severity, f"{what}: {count:,}; {advice}", count, tuple(problems.examples[rule]))
            )
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def _of_all(masks: int, empty: int, full: int, flags: int, problems: Problems) -> Iterator[TargetFinding]:
    """Whether there is anything to learn from."""
    what = "rows" if flags else "masks"
    if masks == 0:
        reason = "none could be read" if problems.counts["unreadable"] else "there are none"
        yield TargetFinding("no masks", "error", f"no mask to learn from: {reason}; check the path and the files", 0)
    elif empty == masks:
        message = (
            f"all {masks:,} {what} are empty: a model learns to predict nothing, and the loss goes to 0; check that the"
            " annotations are found (their paths, which samples have any, the value of the foreground) before training"
        )
        yield TargetFinding("all empty", "error", message, empty)
    elif problems.counts["ignored"] == masks:
        message = f"no pixel of all {masks:,} masks counts; check --ignore-index and how the masks are made"
        yield TargetFinding("all ignored", "error", message, masks)
    elif 2 * empty > masks:
        message = (
            f"{empty:,} of {masks:,} {what} ({empty / masks:.1%}) are empty: a model may collapse to predicting"
            " nothing; where annotations are missing, leave these samples out (or absent='ignore' in losses that have"
            " it); where there is nothing to find, draw samples with foreground more often; train with a LossMonitor"
        )
        yield TargetFinding("mostly empty", "warning", message, empty)
    if 2 * full > masks:
        message = (
            f"{full:,} of {masks:,} masks ({full / masks:.1%}) are full, without any background; check that the"
            " background is 0 and that masks are not inverted"
        )
        yield TargetFinding("mostly full", "warning", message, full)


def _of_values(values: Sequence[float], present: int) -> Iterator[TargetFinding]:
    """Whether the foreground is 1, or classes."""
    above = [value for value in values if value > 0]
    if len(above) == 1 and above[0] != 1:
        value = f"{above[0]:g}"
        others = "" if above[0] >= USUAL_IGNORE else f"; if {value} is a class index, this is the only class"
        message = f"the foreground is {value}, where losses of masks take 1: divide by {value}{others}"
        yield TargetFinding("scaled", "warning", message, present)
    elif USUAL_IGNORE in above and max(above) == USUAL_IGNORE and above[-2] < USUAL_IGNORE - 1:
        message = (
            "255 occurs beside smaller values: if it marks pixels to ignore, say so with --ignore-index 255; if some"
            " masks are 0 and 255 and others 0 and 1, divide the former by 255"
        )
        yield TargetFinding("255 beside classes", "warning", message, present)
