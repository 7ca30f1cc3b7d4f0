"""Losses that are not numbers, and losses that are zero."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from lossreg.health.event import Finding, Kind, Severity
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Example, Update, Window, ids


@dataclass(frozen=True, kw_only=True)
class NonFinite(Rule):
    """A total, component or per-example loss that is NaN or infinite, or a prediction that is NaN or +inf.

    A prediction of -inf is how models rule out a class, and no fault. Empty batches have no loss and are passed over.
    Where a component alone is broken, it has no part in the total, and that is a warning; all else is an error.
    Reads: loss, components, Example.loss, Mask.lowest and highest.
    """

    def check(self, window: Window) -> Verdicts:
        first, count, examples, trained = None, 0, list[Example](), False
        for update in window.updates:
            broken = [example for example in update.examples if _is_broken(example)]
            if broken or any(not math.isfinite(value) for value in _values(update)):
                first = first or update
                count += 1
                examples += broken
                trained = trained or bool(broken) or not math.isfinite(update.loss or 0.0)
        if first is None:
            return {"": None}
        evidence = {
            "updates": count,
            "loss": first.loss,
            "components": {name: value for name, value in first.components.items() if not math.isfinite(value)},
            "predictions": any(_predicts_none(example) for example in examples),
        }
        if not trained:
            hint = "the total is finite without this component, which is only logged: mend it before it is given weight"
            return {"": Finding("warning", evidence, hint, "fault", (), first.step)}
        hint = "look at the samples and their targets for values that are not finite, lower the learning rate, clip"
        hint += " gradients, and under half precision compute the loss in float32"
        return {"": Finding("error", evidence, hint, "fault", ids(examples), first.step)}


def _values(update: Update) -> Iterable[float]:
    return (value for value in (update.loss, *update.components.values()) if value is not None)


def _is_broken(example: Example) -> bool:
    return (example.loss is not None and not math.isfinite(example.loss)) or _predicts_none(example)


def _predicts_none(example: Example) -> bool:
    masks = (mask for mask in example.masks if mask.lowest is not None and mask.highest is not None)
    return any(math.isnan(mask.lowest or 0) or not (mask.highest or 0) < math.inf for mask in masks)


@dataclass(frozen=True, kw_only=True)
class ZeroLoss(Rule):
    """Losses that are zero: of empty targets a fact of the data, of others a fault.

    Of empty targets beside others it is for information, since a sound training on mostly empty masks does so as well;
    a warning where all targets are empty.

    A loss may be 0 for a right answer, so one with foreground counts only where the prediction is wrong somewhere.
    Where there is no prediction or no target to tell, the event is of unknown kind.

    Args:
        below: a loss of at most this magnitude is zero, units of the loss. 1e-6 is less than a mean cross-entropy or
            focal loss has where one pixel in ten thousand is wrong, and what float32 loses beside 1.
        wrong: share of pixels off by more than 0.5 from which an answer is not right, in (0, 1]. A tenth of a tiny
            object of 0.1 % of the pixels.
        share: of the examples that could be zero, how many must be, in (0, 1]. Below half it may be sample weights.
    Reads: Example.loss and empty, Mask.wrong; the batch's total where losses are not per example.
    """

    below: float = 1e-6
    wrong: float = 1e-4
    share: float = 0.5

    shares: ClassVar = frozenset({"wrong", "share"})

    def check(self, window: Window) -> Verdicts:
        units = [unit for update in window.updates for unit in _units(update)]
        known = [unit for unit in units if unit.empty is not None]
        empty = [unit for unit in known if unit.empty]
        filled = [unit for unit in known if not unit.empty and any(mask.wrong is not None for mask in unit.masks)]
        verdicts: dict[str, Finding | None] = {}
        if known:
            hint = "these targets have no foreground, so the loss has nothing to teach: check them with `lossreg "
            hint += "check-targets`, and draw more samples that have foreground"
            severity: Severity = "warning" if len(empty) == len(known) else "info"
            verdicts["data"] = self._judged([u for u in empty if self._is_zero(u)], len(known), severity, "data", hint)
        if filled:
            zero = [unit for unit in filled if self._is_zero(unit) and self._is_wrong(unit)]
            hint = "the prediction is wrong and the loss does not see it: check its weights and masks, and whether its"
            hint += " target is the one that was meant"
            verdicts["fault"] = self._judged(zero, len(filled), "error", "fault", hint)
        rest = [] if filled else [unit for unit in units if _cannot_tell(unit)]
        if rest:
            hint = "give the monitor prediction= and target=, which tell a right answer and empty targets from a fault"
            zero = [unit for unit in rest if self._is_zero(unit)]
            verdicts["unknown"] = self._judged(zero, len(rest), "info", "unknown", hint)
        return verdicts

    def _is_zero(self, unit: Example) -> bool:
        return unit.loss is not None and abs(unit.loss) <= self.below

    def _is_wrong(self, unit: Example) -> bool:
        return any(mask.wrong is not None and mask.wrong > self.wrong for mask in unit.masks)

    def _judged(self, zero: list[Example], count: int, severity: Severity, kind: Kind, hint: str) -> Finding | None:
        if len(zero) <= self.share * count:
            return None
        return Finding(severity, {"zero": len(zero), "examples": count}, hint, kind, ids(zero))


def _cannot_tell(unit: Example) -> bool:
    """No prediction to say whether zero is right, and a target that is not there or has foreground."""
    ignored = bool(unit.masks) and all(mask.valid == 0 for mask in unit.masks)
    return not unit.empty and not ignored and all(mask.wrong is None for mask in unit.masks)


def _units(update: Update) -> list[Example]:
    """What has a loss of its own: the examples, or the batch as one, empty if all of them are."""
    if any(example.loss is not None for example in update.examples):
        return list(update.examples)
    if update.loss is None:
        return []
    known = [example.empty for example in update.examples if example.empty is not None]
    masks = tuple(mask for example in update.examples for mask in example.masks)
    return [Example(update.loss, all(known) if known else None, masks)]
