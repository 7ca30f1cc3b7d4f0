"""The rule for predictions that are wrong with full confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from lossreg.health.event import Finding
from lossreg.health.rules.judged import judged_masks
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Mask, Update, Window, ids

HINT = (
    "the logits of wrong pixels are far too large: lower the learning rate, warm it up, clip gradients, and use a loss"
    " on logits such as bce, whose gradient does not vanish there"
)


@dataclass(frozen=True, kw_only=True)
class Saturation(Rule):
    """Wrong pixels with full confidence: most of them are off by more than 0.9999.

    There a sigmoid or softmax passes no gradient to Dice, focal and other losses of probabilities. Confidence at right
    pixels is no fault.

    Args:
        wrong: minimum share of wrong pixels, those off by more than 0.5, in (0, 1]. Labels have errors, too; a model
            that fits has fewer than 1 % wrong.
        share: of the wrong pixels that must be saturated, in (0, 1].
        examples: minimum number of examples, >= 1; to a window with fewer, those before it are added.
    Reads: Mask.wrong, stuck, valid.
    """

    wrong: float = 0.01
    share: float = 0.5
    examples: int = 4
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"wrong", "share"})

    def check(self, window: Window) -> Verdicts:
        judged = window.last(_by_example, self.examples)
        if len(judged) < self.examples:
            return {}
        masks = [(example, mask) for example, own in judged for mask in own]
        wrong = fmean(mask.wrong or 0.0 for _, mask in masks)
        stuck = fmean(mask.stuck or 0.0 for _, mask in masks)
        if wrong < self.wrong or stuck < self.share * wrong:
            return {"": None}
        worst = sorted(masks, key=lambda pair: -(pair[1].stuck or 0.0))
        samples = ids([example for example, mask in worst if mask.stuck])
        return {"": Finding("warning", {"wrong": wrong, "stuck": stuck}, HINT, "fault", samples)}


def _by_example(update: Update) -> Sequence[tuple[Example, list[Mask]]]:
    """Return the examples of an update with the masks of each that are judged."""
    found: dict[int, tuple[Example, list[Mask]]] = {}
    for place, example, _, mask in judged_masks([update]):
        found.setdefault(place, (example, []))[1].append(mask)
    return list(found.values())
