"""The rules for targets without anything to learn: nearly all of them empty, full or ignored."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lossreg.health.event import Finding, Severity
from lossreg.health.rules.judged import are_masks
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Update, Window, ids

CONFIDENCE = 1.96  # standard deviations, two-sided 95 %


@dataclass(frozen=True, kw_only=True)
class UselessTargets(Rule):
    """Base of rules for targets that are nearly all alike in some way. An error if all are, else a warning.

    Args:
        share: of such targets that is too many, in (0, 1]. There must be enough examples: the lower end of Wilson's
            95 % interval must reach this share, as with 73 of 73.
        examples: number of last examples that are judged together, >= 1. A window that has more is judged by its own;
            to one with fewer, as of batches of one image, those before it are added.
    """

    share: float = 0.95
    examples: int = 800
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"share"})
    word: ClassVar[str]  # for such targets, in the evidence
    hint: ClassVar[str]

    def check(self, window: Window) -> Verdicts:
        known = window.last(self._known, self.examples)
        found = [example for example in known if self.is_such(example)]
        if not known:
            return {}
        if at_least(len(found), len(known)) < self.share:
            return {"": None}
        severity: Severity = "error" if len(found) == len(known) else "warning"
        evidence = {self.word: len(found), "examples": len(known)}
        return {"": Finding(severity, evidence, self.hint, "data", ids(found))}

    def _known(self, update: Update) -> Sequence[Example]:
        return [example for example in update.examples if self.is_such(example) is not None]

    @abstractmethod
    def is_such(self, example: Example) -> bool | None:
        """Return True for a target that the rule is about; None if that is unknown."""


@dataclass(frozen=True, kw_only=True)
class EmptyTargets(UselessTargets):
    """Too many empty targets. The classic cause is masks that were not loaded.

    Mostly empty masks are common where faults are rare, and bce_dice_focal trains on them. Above 95 % most batches have
    no foreground.

    Args:
        share, examples: those of UselessTargets.
    Reads: Example.empty.
    """

    word: ClassVar = "empty"
    hint: ClassVar = (
        "check the targets with `lossreg check-targets`: missing masks are often read as empty; otherwise sample"
        " examples with foreground more often"
    )

    def is_such(self, example: Example) -> bool | None:
        return example.empty


@dataclass(frozen=True, kw_only=True)
class FullTargets(UselessTargets):
    """Too many targets that are foreground throughout. A classic cause is an alpha channel that is read as the mask.

    Args:
        share, examples: those of UselessTargets.
    Reads: Mask.foreground, valid.
    """

    word: ClassVar = "full"
    hint: ClassVar = (
        "check the targets with `lossreg check-targets`: a channel of the image may have been read as the mask, or the"
        " mask compared with the wrong value"
    )

    def is_such(self, example: Example) -> bool | None:
        masks = [mask.foreground for mask in example.masks if mask.valid > 0 and mask.foreground is not None]
        return all(foreground == 1 for foreground in masks) if masks and are_masks(example) else None


@dataclass(frozen=True, kw_only=True)
class IgnoredTargets(UselessTargets):
    """Too many targets with nothing but ignored pixels. They have no gradient, and a loss of 0 or NaN.

    Args:
        share, examples: those of UselessTargets.
    Reads: Mask.valid.
    """

    word: ClassVar = "ignored"
    hint: ClassVar = (
        "every pixel of these targets is ignored, so there is nothing to learn: check ignore_index, and with"
        " `lossreg check-targets` which values the targets hold"
    )

    def is_such(self, example: Example) -> bool | None:
        if example.empty is not None:
            return False
        return True if example.masks and all(mask.valid == 0 for mask in example.masks) else None


def at_least(found: int, of: int) -> float:
    """Return the lower end of Wilson's interval for a share."""
    share, squared = found / of, CONFIDENCE**2 / of
    margin = math.sqrt(share * (1 - share) * squared + squared**2 / 4)
    return (share + squared / 2 - margin) / (1 + squared)
