"""The parts of a loss: one that drowns the others, and one that does nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from lossreg.health.event import Finding
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Update, Window


@dataclass(frozen=True, kw_only=True)
class ComponentDominance(Rule):
    """One component is nearly all of the total.

    Needs the weights: give the monitor `loss=`. Without, it judges where the components simply add up to the total.

    Args:
        share: of the sum of magnitudes of the weighted components, in (0, 1]. Dice beside a cross-entropy that is
            averaged over mostly empty pixels reaches 0.99 in a sound training.
    Reads: loss, components, weights.
    """

    share: float = 0.999
    needed: int = 3
    of: int = 3

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        shares: dict[str, list[float]] = {}
        for update in window.updates:
            parts = _weighted(update, window.weights)
            whole = sum(parts.values())
            if len(parts) > 1 and 0 < whole < math.inf:
                for name, part in parts.items():
                    shares.setdefault(name, []).append(part / whole)
        means = {name: fmean(values) for name, values in shares.items()}
        return {name: self._judged(name, mean) for name, mean in means.items()}

    def _judged(self, name: str, mean: float) -> Finding | None:
        if mean <= self.share:
            return None
        hint = f"the other components hardly count beside {name!r}: bring their weights to its scale, or leave them out"
        return Finding("info", {"component": name, "share": mean}, hint)


def _weighted(update: Update, weights: Mapping[str, float]) -> dict[str, float]:
    """Magnitude of each component that weighs; none where that is not known."""
    parts = update.components
    if weights:
        return {name: abs(weights[name] * value) for name, value in parts.items() if weights.get(name)}
    adds_up = update.loss is not None and math.isclose(sum(parts.values()), update.loss, rel_tol=1e-4)
    return {name: abs(value) for name, value in parts.items()} if adds_up else {}


@dataclass(frozen=True, kw_only=True)
class DeadComponent(Rule):
    """A component that weighs and does nothing: no gradient, always zero, or always the same value.

    Windows whose targets are all empty are not judged, since many components rightly have nothing to say there, nor are
    those whose total is zero. Gradients need the loss: give the monitor `loss=`.

    Args:
        share: of the sum of the gradients' norms, below which a component has none, in (0, 1]. float32 has 1e-7.
        updates: fewer in the window do not make a value constant, >= 2.
    Reads: loss, components, weights, gradients, Example.empty.
    """

    share: float = 1e-6
    updates: int = 5
    needed: int = 3
    of: int = 3

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        taught = [update for update in window.updates if update.loss and not _is_empty(update)]
        verdicts: dict[str, Finding | None] = {}
        if len({update.loss for update in taught}) > 1:
            for name in _names(taught, window):
                values = [update.components[name] for update in taught if name in update.components]
                if len(values) >= self.updates:
                    same = len(set(values)) == 1
                    verdicts[name] = self._found(name, {"value": values[0]}) if same else None
        whole = sum(window.gradients.values())
        if len(window.gradients) > 1 and 0 < whole < math.inf and taught and taught[-1] is window.updates[-1]:
            for name, norm in window.gradients.items():
                if window.weights.get(name) and norm < self.share * whole:
                    verdicts[name] = self._found(name, {"gradient_share": norm / whole})
                else:
                    verdicts.setdefault(name, None)
        return verdicts

    def _found(self, name: str, evidence: dict[str, float]) -> Finding:
        hint = (
            f"{name!r} teaches nothing: check that it depends on the prediction, that it is not clipped or rounded, and"
        )
        hint += " that its masks leave something; set its weight to 0 to log it only"
        return Finding("warning", {"component": name, **evidence}, hint)


def _names(taught: list[Update], window: Window) -> list[str]:
    """The components that weigh, as far as that is known. One alone is the total, which other rules judge."""
    names = dict.fromkeys(name for update in taught for name in update.components)
    weighing = [name for name in names if not window.weights or window.weights.get(name)]
    return weighing if len(weighing) > 1 else []


def _is_empty(update: Update) -> bool:
    known = [example.empty for example in update.examples if example.empty is not None]
    return bool(known) and all(known)
