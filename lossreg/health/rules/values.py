"""Rules for the values of losses: not finite, and zero."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from lossreg.health.event import Finding, Kind, Severity
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.rules.useless_targets import EmptyTargets, at_least
from lossreg.health.window import Example, Update, Window, ids

RECENT, MANY = EmptyTargets.examples, EmptyTargets.share


@dataclass(frozen=True, kw_only=True)
class NonFinite(Rule):
    """A total, component or per-example loss that is NaN or infinite, or a prediction that is NaN or +inf.

    A prediction of -inf rules out a class, which is no fault. Empty batches have no loss and are left out. A component
    alone that is not finite has no part in the total, and is a warning; everything else is an error.

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
            "predictions": any(_has_broken_prediction(example) for example in examples),
        }
        if not trained:
            hint = "the total is finite without this component, which is only logged: fix it before giving it a weight"
            return {"": Finding("warning", evidence, hint, "fault", (), first.step)}
        hint = "look at the samples and their targets for values that are not finite, lower the learning rate, clip"
        hint += " gradients, and under half precision compute the loss in float32"
        return {"": Finding("error", evidence, hint, "fault", ids(examples), first.step)}


def _values(update: Update) -> Iterable[float]:
    return (value for value in (update.loss, *update.components.values()) if value is not None)


def _is_broken(example: Example) -> bool:
    return (example.loss is not None and not math.isfinite(example.loss)) or _has_broken_prediction(example)


def _has_broken_prediction(example: Example) -> bool:
    masks = (mask for mask in example.masks if mask.lowest is not None and mask.highest is not None)
    return any(math.isnan(mask.lowest or 0) or not (mask.highest or 0) < math.inf for mask in masks)


class _State(Enum):
    """The state of a unit: an example with a loss, or a batch without losses per example."""

    EMPTY = "its target has no foreground"
    FILLED = "its target has foreground, and there is a prediction"
    NO_PREDICTION = "its target has foreground, and there is no prediction"
    NO_TARGET = "there is no target"
    IGNORED = "all of its target is ignored"


HINTS: dict[Kind, str] = {
    "data": "these targets have no foreground, so there is nothing to learn from them: check them with"
    " `lossreg check-targets`, and sample examples with foreground more often",
    "fault": "the prediction is wrong, but the loss is zero: check the weights and masks of the loss, and that it gets"
    " the right target",
    "unknown": "pass prediction= and target= to the monitor, which distinguish right answers and empty targets from a"
    " fault",
}


@dataclass(frozen=True, kw_only=True)
class ZeroLoss(Rule):
    """Losses that are zero. On empty targets this is a fact of the data, on others a fault.

    On empty targets it is information, because a sound training on mostly empty masks has it as well. It is a warning
    if so many targets are empty that EmptyTargets would report them.

    A loss may be 0 for a right answer, so examples with foreground count only if the prediction is wrong somewhere.
    Without prediction or target the kind of the event is "unknown".

    Args:
        below: maximum magnitude of a zero loss, in units of the loss. 1e-6 is less than the mean cross-entropy or focal
            loss with one wrong pixel in ten thousand; it is also the order of rounding errors of float32 beside 1.
        wrong: share of pixels off by more than 0.5, above which a prediction is wrong, in (0, 1]. The default is a
            tenth of a tiny object of 0.1 % of the pixels.
        share: of the examples that could be zero, in (0, 1]. More than this must be zero, because a smaller part may
            have sample weights of 0.
    Reads: Example.loss and empty, Mask.wrong; the batch's total where losses are not per example.
    """

    below: float = 1e-6
    wrong: float = 1e-4
    share: float = 0.5

    shares: ClassVar = frozenset({"wrong", "share"})

    def check(self, window: Window) -> Verdicts:
        units = [(unit, _state(unit)) for update in window.updates for unit in _units(update)]
        count = Counter(state for _, state in units)
        known = count[_State.EMPTY] + count[_State.FILLED] + count[_State.NO_PREDICTION]
        unseen = count[_State.NO_PREDICTION] + count[_State.NO_TARGET]

        def zero(*states: _State) -> list[Example]:
            return [unit for unit, state in units if state in states and self._is_zero(unit)]

        verdicts: dict[str, Finding | None] = {}
        if known:
            recent = [bool(example.empty) for example in window.last(_with_target, RECENT)]
            many = bool(recent) and at_least(sum(recent), len(recent)) >= MANY
            severity: Severity = "warning" if many else "info"
            verdicts["data"] = self._verdict(zero(_State.EMPTY), known, severity, "data")
        if count[_State.FILLED]:
            wrong = [unit for unit in zero(_State.FILLED) if self._is_wrong(unit)]
            verdicts["fault"] = self._verdict(wrong, count[_State.FILLED], "error", "fault")
        elif unseen:
            found = zero(_State.NO_PREDICTION, _State.NO_TARGET)
            verdicts["unknown"] = self._verdict(found, unseen, "info", "unknown")
        return verdicts

    def _is_zero(self, unit: Example) -> bool:
        return unit.loss is not None and abs(unit.loss) <= self.below

    def _is_wrong(self, unit: Example) -> bool:
        return any(mask.wrong is not None and mask.wrong > self.wrong for mask in unit.masks)

    def _verdict(self, zero: list[Example], possible: int, severity: Severity, kind: Kind) -> Finding | None:
        if len(zero) <= self.share * possible:
            return None
        return Finding(severity, {"zero": len(zero), "examples": possible}, HINTS[kind], kind, ids(zero))


def _state(unit: Example) -> _State:
    if unit.empty:
        return _State.EMPTY
    has_prediction = any(mask.wrong is not None for mask in unit.masks)
    if unit.empty is not None:
        return _State.FILLED if has_prediction else _State.NO_PREDICTION
    is_ignored = bool(unit.masks) and all(mask.valid == 0 for mask in unit.masks)
    return _State.IGNORED if is_ignored or has_prediction else _State.NO_TARGET


def _with_target(update: Update) -> list[Example]:
    return [example for example in update.examples if example.empty is not None]


def _units(update: Update) -> list[Example]:
    """Return the examples if they have losses, else the batch as one example, empty if all of its targets are."""
    if any(example.loss is not None for example in update.examples):
        return list(update.examples)
    if update.loss is None:
        return []
    known = [example.empty for example in update.examples if example.empty is not None]
    masks = tuple(mask for example in update.examples for mask in example.masks)
    return [Example(update.loss, all(known) if known else None, masks)]
