"""Predictions that have given up: all of one class, the same everywhere, or wrong beyond repair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from lossreg.health.event import SEVERITIES, Finding
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Mask, Window, ids

REMEDY = (
    "check the targets with `lossreg check-targets`; if foreground is rare within masks, use bce_dice_focal or another"
    " loss with an overlap term; if most masks are empty, draw more that are not, or leave empty ones out"
    " (absent='ignore'); lower the learning rate"
)


@dataclass(frozen=True, kw_only=True)
class Collapse(Rule):
    """Nothing is predicted where there is foreground, or, the mirror, everything where there is background; per class.

    Judged over the window's examples that have foreground of the class (the mirror: background), so that empty targets,
    for which predicting nothing is right, say nothing. Classes that are absent are not judged. An error if no class but
    one is predicted, a warning if some are.

    Args:
        low: mean probability below which nothing is predicted, in (0, 1]. Half of 0.01, the prior that heads for rare
            foreground are initialised with, and near which they stay while the learning rate warms up.
        target: mean of the target, over the same examples, that there must be at least, in (0, 1]. With tinier objects
            sound trainings pass through a phase in which they predict nothing, for a hundred updates and more.
        share: of the mean target, and of the 1 / C that C classes have at first, which the mean probability must be
            below as well, in (0, 1]. A right prediction of small objects has a mean near 0.01, too; at a fifth of the
            target most of the foreground is missed.
        examples: fewer than this with foreground in the window are not judged, >= 1.
    Reads: Mask.predicted, target, foreground, valid.
    """

    low: float = 0.005
    target: float = 0.01
    share: float = 0.2
    examples: int = 4
    needed: int = 2
    of: int = 3

    @classmethod
    def shares(cls) -> frozenset[str]:
        return frozenset({"low", "target", "share"})

    def check(self, window: Window) -> Verdicts:
        found: dict[str, list[tuple[Example, float, float]]] = defaultdict(list)
        for _, example, number, mask in judged_masks(window):
            predicted, target, foreground = mask.predicted or 0.0, mask.target or 0.0, mask.foreground or 0.0
            if foreground > 0:
                found[f"zeros {number}"].append((example, predicted, target))
            if foreground < 1:
                found[f"ones {number}"].append((example, 1 - predicted, 1 - target))
        verdicts = {key: self._judged(key, rows) for key, rows in found.items() if len(rows) >= self.examples}
        judged = [key for key in verdicts if key.startswith("zeros")]
        if sum(verdicts[key] is not None for key in judged) < max(1, len(judged) - 1):  # some classes still live
            return {key: finding and replace(finding, severity="warning") for key, finding in verdicts.items()}
        return verdicts

    def _judged(self, key: str, rows: Sequence[tuple[Example, float, float]]) -> Finding | None:
        predicted, target = fmean(row[1] for row in rows), fmean(row[2] for row in rows)
        uniform = 1 / len(rows[0][0].masks)
        if target < self.target or predicted >= min(self.low, self.share * uniform, self.share * target):
            return None
        side, _, number = key.partition(" ")
        if side == "ones":
            predicted, target = 1 - predicted, 1 - target
        evidence = {"class": int(number), "predicted": predicted, "target": target, "examples": len(rows)}
        return Finding("error", {"all": side, **evidence}, "", "fault", ids([row[0] for row in rows]))

    def combine(self, found: Sequence[Finding]) -> Sequence[Finding]:
        combined = []
        for side, what in (("zeros", "nothing where there is foreground"), ("ones", "everything, background too")):
            sides = [finding for finding in found if finding.evidence["all"] == side]
            if sides:
                classes = [{k: v for k, v in finding.evidence.items() if k != "all"} for finding in sides]
                samples = tuple(dict.fromkeys(name for finding in sides for name in finding.sample_ids))
                hint = f"the model predicts {what}: {REMEDY}"
                severity = max((finding.severity for finding in sides), key=SEVERITIES.index)
                combined.append(Finding(severity, {"all": side, "classes": classes}, hint, "fault", samples))
        return combined


@dataclass(frozen=True, kw_only=True)
class ConstantPrediction(Rule):
    """The same probability at every pixel of examples whose targets vary. Of the masks of an example, all must be so.

    Args:
        spread: standard deviation over the pixels, as a share of p (1 - p) at the mean p, below which a prediction is
            constant, >= 0. It is about that of the logits. Even a new network's logits vary by 0.01 and more over an
            image, whatever its prior; rounding in float32 stays below 1e-5 for p between 0.01 and 0.99.
        share: of the examples whose targets vary, how many must be constant, in (0, 1].
        examples: fewer than this whose targets vary are not judged, >= 1.
    Reads: Mask.predicted, spread, foreground, valid.
    """

    spread: float = 1e-3
    share: float = 0.9
    examples: int = 4
    needed: int = 2
    of: int = 3

    @classmethod
    def shares(cls) -> frozenset[str]:
        return frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        varying: dict[int, tuple[Example, list[Mask]]] = {}
        for number, example, _, mask in judged_masks(window):
            if 0 < (mask.foreground or 0.0) < 1:
                varying.setdefault(number, (example, []))[1].append(mask)
        if len(varying) < self.examples:
            return {}
        constant = [example for example, masks in varying.values() if all(map(self._is_constant, masks))]
        if len(constant) < self.share * len(varying):
            return {"": None}
        evidence: dict[str, Any] = {
            "constant": len(constant),
            "examples": len(varying),
            "predicted": fmean(mask.predicted or 0.0 for _, masks in varying.values() for mask in masks),
        }
        hint = "the prediction does not depend on the image: look for dead activations, a learning rate that is too"
        hint += " high, inputs that are all alike, and a head that gets no gradient"
        return {"": Finding("error", evidence, hint, "fault", ids(constant))}

    def _is_constant(self, mask: Mask) -> bool:
        mean = mask.predicted or 0.0
        scale = max(mean * (1 - mean), 1e-12)  # at 0 and 1 themselves there is no spread to compare with
        return (mask.spread or 0.0) <= self.spread * scale


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

    @classmethod
    def shares(cls) -> frozenset[str]:
        return frozenset({"wrong", "share"})

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
        hint = "the logits are far too large on the wrong side: lower the learning rate, warm it up, clip gradients,"
        hint += " and use a loss on logits such as bce, whose gradient does not vanish there"
        evidence = {"wrong": wrong, "stuck": stuck}
        return {"": Finding("warning", evidence, hint, "fault", ids([e for e, mask in worst if mask.stuck]))}


def judged_masks(window: Window) -> Iterator[tuple[int, Example, int, Mask]]:
    """Place of the example in the window, example, class and mask.

    Wherever prediction and target were given and are numbers, and not all is ignored.
    """
    for place, example in enumerate(window.examples()):
        for number, mask in enumerate(example.masks):
            known = mask.valid > 0 and mask.predicted is not None and mask.foreground is not None
            if known and mask.predicted == mask.predicted:  # not NaN, which NonFinite tells
                yield place, example, number, mask
