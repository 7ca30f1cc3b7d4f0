"""Rules for predictions: all of one class, constant, or wrong with full confidence."""

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
    "zeros": "the model predicts no foreground where the target has it: check the targets with `lossreg check-targets`;"
    " if foreground is rare within masks, use bce_dice_focal or another loss with an overlap term; if most masks are"
    " empty, sample the others more often, or ignore empty masks (absent='ignore'); lower the learning rate",
    "ones": "the model predicts foreground where the target has background: check with `lossreg check-targets` that"
    " masks are not inverted or full; lower pos_weight and other weights of the foreground; lower the learning rate",
}


@dataclass(frozen=True, kw_only=True)
class Collapse(Rule):
    """A prediction of no foreground on targets with foreground ("zeros"), or of no background ("ones"), per class.

    "zeros" is judged over the examples with foreground of the class, because predicting nothing is right for empty
    targets. "ones" is judged over the examples with background. Absent classes are not judged. Exclusive classes,
    with probabilities that add up to 1, cannot be "ones". An error if all masks, or all exclusive classes but one, have
    collapsed; a warning if some have.

    Args:
        low: mean probability below which no foreground is predicted, in (0, 1]. Half of 0.01, the initial prior of
            heads for rare foreground, near which they stay while the learning rate warms up. Of C exclusive classes
            each has 2 / C of it, because rare ones among many are long predicted at their frequency.
        target: minimum mean of the target over the same examples, in (0, 1]. With tinier objects a sound training
            predicts nothing for a hundred updates and more.
        share: of the mean target, in (0, 1]; the mean probability must be below it as well. A right prediction of small
            objects has a mean near 0.01, too. At a fifth of the target most of the foreground is missed.
        examples: minimum number of such examples in the window, >= 1.
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
            key: self._verdict(key, rows, exclusive) for key, rows in found.items() if len(rows) >= self.examples
        }
        return {
            key: finding and replace(finding, severity=_severity(key, verdicts, exclusive))
            for key, finding in verdicts.items()
        }

    def _verdict(self, key: str, rows: Sequence[tuple[Example, float, float]], exclusive: bool) -> Finding | None:
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
    """Return True if the masks are exclusive classes: their probabilities add up to 1."""
    examples = {place: example for place, example, *_ in judged}
    sums = [sum(mask.predicted or 0.0 for mask in example.masks) for example in examples.values()]
    several = any(len(example.masks) > 1 for example in examples.values())
    return several and all(abs(total - 1) < 0.01 for total in sums)


def _severity(key: str, verdicts: Verdicts, exclusive: bool) -> Severity:
    """Return "error" if all masks of this side have collapsed. Of exclusive classes one never does."""
    side = [finding for other, finding in verdicts.items() if other.split()[0] == key.split()[0]]
    alive = sum(finding is None for finding in side)
    return "error" if alive <= exclusive else "warning"


@dataclass(frozen=True, kw_only=True)
class ConstantPrediction(Rule):
    """A prediction that does not depend on the image.

    It is the same at every pixel of an example, in all of its masks. Or it is the same for all examples of a batch, as
    when only the padding at the border shows. Judged are examples with both foreground and background.

    Args:
        spread: standard deviation over the pixels, as a share of p (1 - p) at the mean p, below which a prediction is
            constant, >= 0. It is about that of the logits. Logits of a new network vary by 0.01 and more over an image,
            with any prior; rounding in float32 stays below 1e-5 for p between 0.01 and 0.99. Constant over a batch are
            predictions with means, lowest and highest values that differ by less.
        share: of the judged examples that must be constant, in (0, 1].
        examples: minimum number of judged examples in the window, >= 1.
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
        hint += " high, identical inputs, and a head without gradient"
        return {"": Finding("error", evidence, hint, "fault", ids(constant))}

    def _is_constant(self, mask: Mask) -> bool:
        mean = mask.predicted or 0.0
        return (mask.spread or 0.0) <= self.spread * _scale(mean)

    def _are_alike(self, examples: Sequence[Sequence[Mask]]) -> bool:
        """Return True if all examples have the same prediction, and their targets differ."""
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
    """Return p (1 - p), at least 1e-12, because it is 0 at probabilities of 0 and 1."""
    return max(probability * (1 - probability), 1e-12)


@dataclass(frozen=True, kw_only=True)
class Saturation(Rule):
    """Wrong pixels with full confidence: most of them are off by more than 0.9999.

    There a sigmoid or softmax passes no gradient to Dice, focal and other losses of probabilities. Confidence at right
    pixels is no fault.

    Args:
        wrong: minimum share of wrong pixels, those off by more than 0.5, in (0, 1]. Labels have errors, too; a model
            that fits has fewer than 1 % wrong.
        share: of the wrong pixels that must be saturated, in (0, 1].
        examples: minimum number of examples in the window, >= 1.
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
        samples = ids([example for example, mask in worst if mask.stuck])
        if any((mask.target or 0.0) > (mask.foreground or 0.0) + 0.5 for _, mask in masks):  # impossible up to 1
            hint = (
                "targets exceed 1: divide masks of 0 and 255 by 255, or set ignore_index=255 if it marks pixels that do"
            )
            hint += " not count"
            evidence = {"wrong": wrong, "stuck": stuck, "target": max(mask.target or 0.0 for _, mask in masks)}
            return {"": Finding("error", evidence, hint, "data", samples)}
        hint = (
            "the logits of wrong pixels are far too large: lower the learning rate, warm it up, clip gradients, and use"
        )
        hint += " a loss on logits such as bce, whose gradient does not vanish there"
        evidence = {"wrong": wrong, "stuck": stuck}
        return {"": Finding("warning", evidence, hint, "fault", samples)}


def judged_masks(window: Window) -> Iterator[tuple[int, Example, int, Mask]]:
    """Yield the index of the example in the window, the example, the class and the mask.

    Masks without prediction or target, with NaN, or without valid pixels are left out.
    """
    for place, example in enumerate(window.examples()):
        for number, mask in enumerate(example.masks):
            known = mask.valid > 0 and mask.predicted is not None and mask.foreground is not None
            if known and mask.predicted == mask.predicted:  # not NaN, which NonFinite reports
                yield place, example, number, mask
