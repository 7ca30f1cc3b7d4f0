"""The rule for targets without foreground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from lossreg.health.event import Finding
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Window, ids

CONFIDENCE = 1.96  # standard deviations, two-sided 95 %


@dataclass(frozen=True, kw_only=True)
class EmptyTargets(Rule):
    """Too many empty targets. The classic cause is masks that were not loaded.

    Args:
        share: of empty targets that is too many, in (0, 1]. Mostly empty masks are common where faults are rare, and
            bce_dice_focal trains on them. Above 95 % most batches have no foreground. The window must have enough
            examples: the lower end of Wilson's 95 % interval must reach this share, as with 73 empty of 73.
    Reads: Example.empty.
    """

    share: float = 0.95
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        known = [example for example in window.examples() if example.empty is not None]
        empty = [example for example in known if example.empty]
        if not known:
            return {}
        if at_least(len(empty), len(known)) < self.share:
            return {"": None}
        every = len(empty) == len(known)
        hint = "check the targets with `lossreg check-targets`: missing masks are often read as empty; otherwise sample"
        hint += " examples with foreground more often"
        evidence = {"empty": len(empty), "examples": len(known)}
        return {"": Finding("error" if every else "warning", evidence, hint, "data", ids(empty))}


def at_least(found: int, of: int) -> float:
    """Return the lower end of Wilson's interval for a share."""
    share, squared = found / of, CONFIDENCE**2 / of
    margin = math.sqrt(share * (1 - share) * squared + squared**2 / 4)
    return (share + squared / 2 - margin) / (1 + squared)
