"""The rule for predictions that are all of one class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar, NamedTuple

from lossreg.health.event import SEVERITIES, Finding, Severity
from lossreg.health.rules.judged import exclude_each_other, judged_masks
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Mask, Update, Window, ids

HINTS = {
    "zeros": "the model predicts no foreground where the target has it: check the targets with `lossreg check-targets`;"
    " if foreground is rare within masks, use bce_dice_focal or another loss with an overlap term; if most masks are"
    " empty, sample the others more often, or ignore empty masks (absent='ignore'); lower the learning rate",
    "ones": "the model predicts foreground where the target has background: check with `lossreg check-targets` that"
    " masks are not inverted or full; lower pos_weight and other weights of the foreground; lower the learning rate",
}
FAR = {"zeros": 0.2, "ones": 0.45}  # of the target's mean, below which a prediction cannot be a careful one


class _Row(NamedTuple):
    """A mask as one side sees it: of "ones" the background should be predicted."""

    example: Example
    predicted: float
    target: float
    side: float  # share of the pixels whose target is of this side
    missed: float  # share of the pixels that are of this side and predicted to be of the other
    spread: float


@dataclass(frozen=True, kw_only=True)
class Collapse(Rule):
    """A prediction of no foreground on targets with foreground ("zeros"), or of no background ("ones"), per class.

    "zeros" is judged over the examples with foreground of the class, because predicting nothing is right for empty
    targets. "ones" is judged over the examples with background. Absent classes are not judged. Exclusive classes,
    with probabilities that add up to 1, cannot be "ones". An error if all masks, or all exclusive classes but one, have
    collapsed; a warning if some have.

    A mean probability next to 0 is reported after two windows. Where it is only low, nearly all pixels of the
    foreground must be missed for many updates, and the predictions must not gain contrast, as they do while a network
    learns. If their mean is about the target's, the network may know no more than how frequent the class is: a warning.

    Args:
        low: mean probability below which no foreground is predicted, in (0, 1]. Half of 0.01, the initial prior of
            heads for rare foreground, near which they stay while the learning rate warms up. Of C exclusive classes
            each has 2 / C of it, because rare ones among many are long predicted at their frequency.
        target: minimum mean of the target over the same examples, in (0, 1]. With tinier objects a sound training
            predicts nothing for a hundred updates and more.
        share: of the mean target, in (0, 1]; the mean probability must be below it as well. A right prediction of small
            objects has a mean near 0.01, too. At a fifth of the target most of the foreground is missed.
        missed: share of the foreground's pixels with a probability off by more than 0.5, in (0, 1], from which on a
            prediction is a collapse although its mean is not below `low`.
        common: minimum mean of the target for that, in (0, 1]. One of C exclusive classes must also have 2 / C of all
            pixels, because rare ones are learnt late, unless its mean is far below its share of them. All but class 0
            are judged together as well.
        updates: for which that must last, >= 2; "ones" that are near 0.5 twice as many, because networks begin there.
            A mere warning lasts for as many examples as well, because a class is learnt late where few have it.
        examples: minimum number of such examples, >= 1; to a window with fewer, those before it are added.
    Reads: Mask.predicted, spread, target, foreground, positive, wrong, valid.
    """

    low: float = 0.005
    target: float = 0.01
    share: float = 0.2
    missed: float = 0.95
    common: float = 0.05
    updates: int = 200
    examples: int = 4
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"low", "target", "share", "missed", "common"})

    def check(self, window: Window) -> Verdicts:
        exclusive = exclude_each_other([example.masks for example in window.examples() if _is_known(example)])
        rows = self._rows(window, exclusive)
        count = len({place for place, *_ in judged_masks(window.updates)})
        verdicts = {
            key: self._verdict(
                key,
                own,
                exclusive,
                rate=sum(row.target for row in own) / max(count, len(own)),
                rare=max(1.0, len(window.updates) / len(own)),
            )
            for key, own in rows.items()
            if len(own) >= self.examples
        }
        return {
            key: finding and replace(finding, severity=_lower(finding.severity, _severity(key, verdicts, exclusive)))
            for key, finding in verdicts.items()
        }

    def _rows(self, window: Window, exclusive: bool) -> Mapping[str, list[_Row]]:
        """Return the rows of each side and class that occurs in the window; of earlier updates as many as it needs."""
        rows = _sides(window.updates, exclusive)
        for update in reversed(window.before):
            few = {key for key, own in rows.items() if len(own) < self.examples}
            if not few:
                break
            for key, own in _sides([update], exclusive).items():
                if key in few:
                    rows[key] += own
        return rows

    def _verdict(self, key: str, rows: Sequence[_Row], exclusive: bool, *, rate: float, rare: float) -> Finding | None:
        """Judge one side of a class.

        Args:
            rate: its mean target over all examples.
            rare: updates for each of its examples, 1 if every update has one.
        """
        side, _, number = key.partition(" ")
        predicted, target = fmean(row.predicted for row in rows), fmean(row.target for row in rows)
        classes = len(rows[0].example.masks)
        low = self.low * 2 / classes if exclusive else self.low
        severity: Severity = "error"
        patience = 0
        if target < self.target or predicted >= min(low, self.share * target):
            several = exclusive and classes > 2
            is_far = predicted < FAR[side] * (rate if several else target)
            is_rare = several and not is_far and rate < 2 / classes and "-" not in number
            missed = sum(row.missed for row in rows) / (sum(row.side for row in rows) or 1.0)
            if target < self.common or is_rare or missed < self.missed:
                return None
            is_near = side == "ones" and not is_far
            patience = self.updates * (1 + is_near)
            if not is_far:  # learnt late where it is rare
                patience, severity = round(patience * rare), "warning"
        if side == "ones":
            predicted, target = 1 - predicted, 1 - target
        named = number if "-" in number else int(number)
        evidence = {"all": side, "class": named, "predicted": predicted, "target": target, "examples": len(rows)}
        contrast = fmean(row.spread for row in rows) or fmean(row.predicted for row in rows)  # of a single pixel
        return Finding(severity, evidence, "", "fault", ids([row.example for row in rows]), None, patience, contrast)

    def combine(self, found: Sequence[Finding]) -> Sequence[Finding]:
        combined = []
        for side, hint in HINTS.items():
            sides = [finding for finding in found if finding.evidence["all"] == side]
            if sides:
                single = [finding for finding in sides if isinstance(finding.evidence["class"], int)]
                classes = [{k: v for k, v in finding.evidence.items() if k != "all"} for finding in single or sides]
                samples = tuple(dict.fromkeys(name for finding in sides for name in finding.sample_ids))
                severity = max((finding.severity for finding in sides), key=SEVERITIES.index)
                combined.append(Finding(severity, {"all": side, "classes": classes}, hint, "fault", samples))
        return combined


def _is_known(example: Example) -> bool:
    return any(mask.predicted is not None for mask in example.masks)


def _sides(updates: Sequence[Update], exclusive: bool) -> dict[str, list[_Row]]:
    """Return the rows of each side and class, such as "zeros 0"."""
    rows: dict[str, list[_Row]] = defaultdict(list)
    for _, example, number, mask in judged_masks(updates):
        predicted, target, foreground = mask.predicted or 0.0, mask.target or 0.0, mask.foreground or 0.0
        (without, extra), spread = _errors(mask, foreground), mask.spread or 0.0
        if foreground > 0:
            rows[f"zeros {number}"].append(_Row(example, predicted, target, foreground, without, spread))
        if exclusive and number == 0 and len(example.masks) > 2 and foreground < 1:
            row = _Row(example, 1 - predicted, 1 - target, 1 - foreground, extra, spread)
            rows[f"zeros 1-{len(example.masks) - 1}"].append(row)
        if foreground < 1 and not exclusive:
            rows[f"ones {number}"].append(_Row(example, 1 - predicted, 1 - target, 1 - foreground, extra, spread))
    return rows


def _errors(mask: Mask, foreground: float) -> tuple[float, float]:
    """Return the shares of missed and of wrong foreground. They add up to `wrong`, but for probabilities of 0.5."""
    if mask.positive is None or mask.wrong is None:
        return 0.0, 0.0
    more = mask.positive - foreground
    return max(mask.wrong - more, -2 * more, 0.0) / 2, max(mask.wrong + more, 2 * more, 0.0) / 2


def _lower(one: Severity, other: Severity) -> Severity:
    return min(one, other, key=SEVERITIES.index)


def _severity(key: str, verdicts: Verdicts, exclusive: bool) -> Severity:
    """Return "error" if all masks of this side have collapsed. Of exclusive classes one never does."""
    if "-" in key:
        return "error"
    same = [other for other in verdicts if other.split()[0] == key.split()[0] and "-" not in other]
    side = [verdicts[key] for key in same]
    alive = sum(finding is None for finding in side)
    return "error" if alive <= exclusive else "warning"
