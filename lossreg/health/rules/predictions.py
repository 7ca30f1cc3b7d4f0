"""Predictions that have given up: all of one class, the same everywhere, or wrong beyond repair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, ClassVar

from lossreg.health.event import SEVERITIES, Finding, Severity
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Mask, Window, ids

HINTS = {
    "zeros": "the model predicts nothing where there is foreground: check the targets with `lossreg check-targets`; if"
    " foreground is rare within masks, use bce_dice_focal or another loss with an overlap term; if most masks are"
    " empty, draw more that are not, or leave empty ones out (absent='ignore'); lower the learning rate",
    "ones": "the model predicts everything, background too: check with `lossreg check-targets` that masks are not"
    " inverted or full; lower pos_weight and other weights of the foreground; lower the learning rate",
}


@dataclass(frozen=True, kw_only=True)
class Collapse(Rule):
    """Nothing is predicted where there is foreground, or, the mirror, everything where there is background; per class.

    Judged over the window's examples that have foreground of the class (the mirror: background), so that empty targets,
    for which predicting nothing is right, say nothing. Classes that are absent are not judged. Where classes exclude
    each other, their probabilities adding up to 1, there is no mirror. An error if all masks, or all classes but one,
    have collapsed; a warning if some have.

    Args:
        low: mean probability below which nothing is predicted, in (0, 1]. Half of 0.01, the prior that heads for rare
            foreground are initialised with, and near which they stay while the learning rate warms up. Of C classes
            that exclude each other each has 2 / C of it, since rare ones among many are long predicted at their rate.
        target: mean of the target, over the same examples, that there must be at least, in (0, 1]. With tinier objects
            sound trainings pass through a phase in which they predict nothing, for a hundred updates and more.
        share: of the mean target, which the mean probability must be below as well, in (0, 1]. A right prediction of
            small objects has a mean near 0.01, too; at a fifth of the target most of the foreground is missed.
        examples: fewer than this with foreground in the window are not judged, >= 1.
    Reads: Mask.predicted, target, foreground, valid.
    """

    low: float = 0.005
    target: float = 0.01
    share: float = 0.2
    examples: int = 4
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"low", "target", "share"})

    def check(self, window: Window) -> Verdicts:
        judged = list(judged_masks(window))
        exclusive = _exclude_each_other(judged)
        found: dict[str, list[tuple[Example, float, float]]] = defaultdict(list)
        for _, example, number, mask in judged:
            predicted, target, foreground = mask.predicted or 0.0, mask.target or 0.0, mask.foreground or 0.0
            if foreground > 0:
                found[f"zeros {number}"].append((example, predicted, target))
            if foreground < 1 and not exclusive:
                found[f"ones {number}"].append((example, 1 - predicted, 1 - target))
        verdicts = {
            key: self._judged(key, rows, exclusive) for key, rows in found.items() if len(rows) >= self.examples
        }
        return {
            key: finding and replace(finding, severity=_gravity(key, verdicts, exclusive))
            for key, finding in verdicts.items()
        }

    def _judged(self, key: str, rows: Sequence[tuple[Example, float, float]], exclusive: bool) -> Finding | None:
        predicted, target = fmean(row[1] for row in rows), fmean(row[2] for row in rows)
        low = self.low * 2 / len(rows[0][0].masks) if exclusive else self.low
        if target < self.target or predicted >= min(low, self.share * target):
            return None
        side, _, number = key.partition(" ")
        if side == "ones":
            predicted, target = 1 - predicted, 1 - target
        evidence = {"class": int(number), "predicted": predicted, "target": target, "examples": len(rows)}
        return Finding("error", {"all": side, **evidence}, "", "fault", ids([row[0] for row in rows]))

    def combine(self, found: Sequence[Finding]) -> Sequence[Finding]:
        combined = []
        for side, hint in HINTS.items():
            sides = [finding for finding in found if finding.evidence["all"] == side]
            if sides:
                classes = [{k: v for k, v in finding.evidence.items() if k != "all"} for finding in sides]
                samples = tuple(dict.fromkeys(name for finding in sides for name in finding.sample_ids))
                severity = max((finding.severity for finding in sides), key=SEVERITIES.index)
                combined.append(Finding(severity, {"all": side, "classes": classes}, hint, "fault", samples))
        return combined


def _exclude_each_other(judged: Sequence[tuple[int, Example, int, Mask]]) -> bool:
    """Whether masks are classes, one of which is right at each pixel."""
    examples = {place: example for place, example, *_ in judged}
    sums = [sum(mask.predicted or 0.0 for mask in example.masks) for example in examples.values()]
    several = any(len(example.masks) > 1 for example in examples.values())
    return several and all(abs(total - 1) < 0.01 for total in sums)


def _gravity(key: str, verdicts: Verdicts, exclusive: bool) -> Severity:
    """An error if nothing on this side lives; of classes that exclude each other one always does."""
    side = [finding for other, finding in verdicts.items() if other.split()[0] == key.split()[0]]
    living = sum(finding is None for finding in side)
    return "error" if living <= exclusive else "warning"


@dataclass(frozen=True, kw_only=True)
class ConstantPrediction(Rule):
    """The prediction does not depend on the image: the same at every pixel of examples whose targets vary, or the same
    for all such examples of a batch, as where only the padding at the border shows. All masks of an example must be so.

    Args:
        spread: standard deviation over the pixels, as a share of p (1 - p) at the mean p, below which a prediction is
            constant, >= 0. It is about that of the logits. Even a new network's logits vary by 0.01 and more over an
            image, whatever its prior; rounding in float32 stays below 1e-5 for p between 0.01 and 0.99. Between the
            examples of a batch, mean, lowest and highest prediction must differ by less as well.
        share: of the examples whose targets vary, how many must be constant, in (0, 1].
        examples: fewer than this whose targets vary are not judged, >= 1.
    Reads: Mask.predicted, spread, lowest, highest, foreground, valid.
    """

    spread: float = 1e-3
    share: float = 0.9
    examples: int = 4
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        judged, constant, predicted = 0, list[Example](), list[float]()
        for update in window.updates:
            varying: dict[int, tuple[Example, list[Mask]]] = {}
            for place, example, _, mask in judged_masks(Window([update])):
                if 0 < (mask.foreground or 0.0) < 1:
                    varying.setdefault(place, (example, []))[1].append(mask)
            alike = self._are_alike([example.masks for example, _ in varying.values()])
            judged += len(varying)
            constant += [row for row, masks in varying.values() if alike or all(map(self._is_constant, masks))]
            predicted += [mask.predicted or 0.0 for _, masks in varying.values() for mask in masks]
        if judged < self.examples:
            return {}
        if len(constant) < self.share * judged:
            return {"": None}
        evidence: dict[str, Any] = {"constant": len(constant), "examples": judged, "predicted": fmean(predicted)}
        hint = "the prediction does not depend on the image: look for dead activations, a learning rate that is too"
        hint += " high, inputs that are all alike, and a head that gets no gradient"
        return {"": Finding("error", evidence, hint, "fault", ids(constant))}

    def _is_constant(self, mask: Mask) -> bool:
        mean = mask.predicted or 0.0
        return (mask.spread or 0.0) <= self.spread * _scale(mean)

    def _are_alike(self, examples: Sequence[Sequence[Mask]]) -> bool:
        """Whether all were given the same prediction although their targets differ."""
        if len({tuple(mask.foreground for mask in masks) for masks in examples}) < 2:
            return False
        for masks in zip(*examples, strict=True):
            means = [mask.predicted or 0.0 for mask in masks]
            ends = [[mask.lowest or 0.0 for mask in masks], [mask.highest or 0.0 for mask in masks]]
            if max(means) - min(means) > self.spread * _scale(fmean(means)):
                return False
            if any(not max(values) - min(values) <= self.spread for values in ends):
                return False
        return True


def _scale(probability: float) -> float:
    """What the spread is a share of; at 0 and 1 themselves there is none to compare with."""
    return max(probability * (1 - probability), 1e-12)


@dataclass(frozen=True, kw_only=True)
class Saturation(Rule):
    """Wrong with full confidence: of the wrong pixels, most are off by more than 0.9999.

    There a sigmoid or softmax passes no gradient to Dice, focal and other losses of probabilities. Right pixels may be
    as confident as they like.

    Args:
        wrong: share of pixels off by more than 0.5 from which this is judged, in (0, 1]. Labels have errors, too: 1 %
            is more than a model that fits has wrong.
        share: of the wrong pixels, how many must be saturated, in (0, 1].
        examples: fewer in the window are not judged, >= 1.
    Reads: Mask.wrong, stuck, valid.
    """

    wrong: float = 0.01
    share: float = 0.5
    examples: int = 4
    needed: int = 2
    of: int = 3

    shares: ClassVar = frozenset({"wrong", "share"})

    def check(self, window: Window) -> Verdicts:
        judged = list(judged_masks(window))
        if len({number for number, *_ in judged}) < self.examples:
            return {}
        masks = [(example, mask) for _, example, _, mask in judged]
        wrong = fmean(mask.wrong or 0.0 for _, mask in masks)
        stuck = fmean(mask.stuck or 0.0 for _, mask in masks)
        if wrong < self.wrong or stuck < self.share * wrong:
            return {"": None}
        worst = sorted(masks, key=lambda pair: -(pair[1].stuck or 0.0))
        stuck_ones = ids([example for example, mask in worst if mask.stuck])
        if any((mask.target or 0.0) > (mask.foreground or 0.0) + 0.5 for _, mask in masks):  # no values up to 1 can
            hint = "targets go above 1: divide masks of 0 and 255 by 255, or give ignore_index= if 255 marks pixels"
            evidence = {"wrong": wrong, "stuck": stuck, "target": max(mask.target or 0.0 for _, mask in masks)}
            return {"": Finding("error", evidence, f"{hint} that do not count", "data", stuck_ones)}
        hint = "the logits are far too large on the wrong side: lower the learning rate, warm it up, clip gradients,"
        hint += " and use a loss on logits such as bce, whose gradient does not vanish there"
        evidence = {"wrong": wrong, "stuck": stuck}
        return {"": Finding("warning", evidence, hint, "fault", stuck_ones)}


def judged_masks(window: Window) -> Iterator[tuple[int, Example, int, Mask]]:
    """Place of the example in the window, example, class and mask.

    Wherever prediction and target were given and are numbers, and not all is ignored.
    """
    for place, example in enumerate(window.examples()):
        for number, mask in enumerate(example.masks):
            known = mask.valid > 0 and mask.predicted is not None and mask.foreground is not None
            if known and mask.predicted == mask.predicted:  # not NaN, which NonFinite tells
                yield place, example, number, mask
