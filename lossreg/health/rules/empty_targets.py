"""The rules for targets without anything to learn: without foreground, or ignored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lossreg.health.event import Finding
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Update, Window, ids

CONFIDENCE = 1.96  # standard deviations, two-sided 95 %


@dataclass(frozen=True, kw_only=True)
class EmptyTargets(Rule):
    """Too many empty targets. The classic cause is masks that were not loaded.

    Args:
        share: of empty targets that is too many, in (0, 1]. Mostly empty masks are common where faults are rare, and
            bce_dice_focal trains on them. Above 95 % most batches have no foreground. There must be enough examples:
            the lower end of Wilson's 95 % interval must reach this share, as with 73 empty of 73.
        examples: number of last examples that are judged together, >= 1. A window that has more is judged by its own;
            to one with fewer, as of batches of one image, those before it are added.
    Reads: Example.empty.
    """

    share: float = 0.95
    examples: int = 400
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        known = window.last(_with_target, self.examples)
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


@dataclass(frozen=True, kw_only=True)
class IgnoredTargets(Rule):
    """Targets with nothing but ignored pixels. They have no gradient, and a loss of 0 or NaN.

    Args:
        share: of such targets that is too many, in (0, 1]; certain in the sense of EmptyTargets.
        examples: number of last examples that are judged together, as of EmptyTargets.
    Reads: Mask.valid.
    """

    share: float = 0.95
    examples: int = 400
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        known = window.last(_with_masks, self.examples)
        ignored = [example for example in known if is_ignored(example)]
        if not known:
            return {}
        if at_least(len(ignored), len(known)) < self.share:
            return {"": None}
        hint = "every pixel of these targets is ignored, so there is nothing to learn: check ignore_index, and with"
        hint += " `lossreg check-targets` which values the targets hold"
        evidence = {"ignored": len(ignored), "examples": len(known)}
        return {"": Finding("error", evidence, hint, "data", ids(ignored))}


def is_ignored(example: Example) -> bool:
    """Return True if an example has a target, and none of its pixels counts."""
    return bool(example.masks) and all(mask.valid == 0 for mask in example.masks)


def at_least(found: int, of: int) -> float:
    """Return the lower end of Wilson's interval for a share."""
    share, squared = found / of, CONFIDENCE**2 / of
    margin = math.sqrt(share * (1 - share) * squared + squared**2 / 4)
    return (share + squared / 2 - margin) / (1 + squared)


def _with_target(update: Update) -> Sequence[Example]:
    return [example for example in update.examples if example.empty is not None]


def _with_masks(update: Update) -> Sequence[Example]:
    return [example for example in update.examples if example.empty is not None or is_ignored(example)]
