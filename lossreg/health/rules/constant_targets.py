"""The rule for targets that are all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossreg.health.event import Finding
from lossreg.health.rules.judged import judged_masks
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Update, Window


@dataclass(frozen=True, kw_only=True)
class ConstantTargets(Rule):
    """The same target for every image, as when one file is read for all of them.

    Known by the means of the masks, which differ in the least between two real masks. Empty and full targets have
    rules of their own.

    Args:
        examples: minimum number of examples, >= 1; to a window with fewer, those before it are added.
    Reads: Mask.target, foreground, valid.
    """

    examples: int = 100
    needed: int = 2
    of: int = 3

    def check(self, window: Window) -> Verdicts:
        targets = window.last(_means, self.examples)
        if len(targets) < self.examples:
            return {}
        first = targets[0]
        if any(means != first for means in targets) or set(first) in ({0.0}, {1.0}):
            return {"": None}
        hint = "every image has the same target: check how targets are found by the name or number of their image; if"
        hint += " that is meant, as in learning one image by heart, leave the rule out"
        return {"": Finding("warning", {"examples": len(targets), "target": max(first)}, hint, "data")}


def _means(update: Update) -> Sequence[tuple[float, ...]]:
    """Return the means of each example's masks."""
    means: dict[int, tuple[float, ...]] = {}
    for place, _, _, mask in judged_masks([update]):
        means[place] = (*means.get(place, ()), mask.target or 0.0)
    return list(means.values())
