"""The rule for targets whose values are those of no mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from lossreg.health.event import Finding, Severity
from lossreg.health.rules.judged import HIGHEST, LOWEST, are_masks
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Window, ids

SCALED = (
    "targets exceed 1: divide masks of 0 and 255 by 255, or compare them with 127; without that the loss of a binary"
    " mask falls without end"
)
MARKED = (
    "some pixels of the targets exceed 1: set ignore_index if their value marks pixels that do not count, of the loss"
    " and of the monitor; give class ids a channel for each class; divide masks of 0 to 255 by 255"
)
SIGNED = "masks of -1 and 1 are given where 0 and 1 are meant: use (target + 1) / 2"
NEGATIVE = (
    "targets below 0 are no masks, so the rules of predictions leave them out: of a regression pass the loss alone; set"
    " ignore_index if -1 marks pixels that do not count"
)

SOLID = 0.8  # of the largest value, the mean of foreground that has one value, though resized or compressed


@dataclass(frozen=True, kw_only=True)
class TargetRange(Rule):
    """Targets that are masks by their shape, with values outside of 0 to 1. No rule of predictions judges them.

    Foreground of 255, or of another single value, is an error: the loss is then another one than meant, and the
    cross-entropy falls without end. Several values above 1 are a warning, because one of them may mark pixels that the
    loss ignores and the monitor does not know of. Masks of -1 and 1 are an error. Other values below 0 are those of a
    regression, and information.

    Args:
        share: of the examples, in (0, 1]; more must have such values.
    Reads: Example.values, Mask.target and foreground.
    """

    share: float = 0.5

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        known = [example for example in window.examples() if example.values is not None]
        strange = [example for example in known if not are_masks(example)]
        if not known:
            return {}
        if len(strange) <= self.share * len(known):
            return {"": None}
        lowest = min(low for low, _ in _ranges(strange))
        highest = max(high for _, high in _ranges(strange))
        evidence = {"lowest": lowest, "highest": highest, "examples": len(strange)}
        severity, hint = _judged(strange, lowest, highest)
        return {"": Finding(severity, evidence, hint, "data", ids(strange))}


def _ranges(examples: Sequence[Example]) -> list[tuple[float, float]]:
    return [example.values for example in examples if example.values is not None]


def _judged(strange: Sequence[Example], lowest: float, highest: float) -> tuple[Severity, str]:
    """Return severity and hint. The mean of a target of two values follows from its share of foreground."""
    masks = [(mask.target or 0.0, mask.foreground or 0.0) for example in strange for mask in example.masks]
    target, foreground = (fmean(column) for column in zip(*masks, strict=True)) if masks else (0.0, 0.0)
    if lowest < LOWEST:
        return ("error", SIGNED) if _is_near(target, 2 * foreground - 1) and highest <= HIGHEST else ("info", NEGATIVE)
    return ("error", SCALED) if target > SOLID * highest * foreground else ("warning", MARKED)


def _is_near(one: float, other: float) -> bool:
    return abs(one - other) < 0.01
