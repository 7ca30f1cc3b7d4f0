"""Findings about the values of sound masks: a scaled 1, ignored pixels beside classes, classes with gaps, ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lossreg.health.targets.report import TargetFinding, TargetReport

USUAL_IGNORE: Final = 255
FEW_CLASSES: Final = 100  # below which 255 marks pixels to ignore, as in most data sets
MOST_SHOWN: Final = 6  # values in a message


def of_values(report: TargetReport) -> Iterator[TargetFinding]:
    """Yield the findings about the values above 0."""
    above = [row.value for row in report.values if row.value > 0]
    filled = report.masks - report.empty - report.flags - report.coloured
    if len(above) == 1 and above[0] != 1:
        value = f"{above[0]:g}"
        others = "" if above[0] >= USUAL_IGNORE else f"; if {value} is a class index, this is the only class"
        message = f"the foreground is {value}, but losses of masks need 1: divide by {value}{others}"
        yield TargetFinding("scaled", "warning", message, filled)
    if len(above) < 2:
        return
    if above[-1] == USUAL_IGNORE and (_few(above) or above[-2] < FEW_CLASSES) and above[-2] < USUAL_IGNORE - 1:
        message = (
            "255 occurs beside smaller values: if it marks pixels to ignore, pass --ignore-index 255; if some masks"
            " hold 0 and 255 and others 0 and 1, divide the former by 255"
        )
        yield TargetFinding("255 beside classes", "warning", message, filled)
        above.pop()
    if _gaps(above, report):
        yield TargetFinding("class gaps", "warning", _gap_message(above), filled)


def _few(above: list[float]) -> bool:
    """Return True if the values below 255 are classes without gaps."""
    return above[-2] < 2 * len(above)


def _gaps(above: list[float], report: TargetReport) -> bool:
    """Return True if most of the numbers from 0 to the highest value are missing."""
    if report.more_values:  # the table of values is not complete
        return above[0] > USUAL_IGNORE
    return len(above) > 1 and above[-1] >= 2 * (len(above) + 1)


def _gap_message(above: list[float]) -> str:
    first = ", ".join(f"{value:g}" for value in above[:MOST_SHOWN])
    more = ", ..." if len(above) > MOST_SHOWN else ""
    if above[-1] > USUAL_IGNORE:
        return (
            f"the foreground has the values {first}{more}, as numbers of objects and codes of classes have, with up to"
            " 16 bits; for losses of classes replace each by its class index, 1, 2, 3 (in Cityscapes, an instance has"
            " 1000 times the number of its class, and a number); for foreground alone, replace every value above 0 by 1"
        )
    return (
        f"the foreground has the values {first}{more}, with gaps: losses of classes need a channel for each number up"
        f" to {above[-1]:g}; replace the values by 1, 2, 3, and give as many channels as there are classes"
    )
