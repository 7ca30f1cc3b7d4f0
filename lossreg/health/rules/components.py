"""Rules for the components of a loss: one that dominates, and one without effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from lossreg.health.event import Finding
from lossreg.health.rules.rule import Rule, Verdicts
from lossreg.health.window import Update, Window

ROUNDING = 2e-7  # of float32, beside the total


@dataclass(frozen=True, kw_only=True)
class ComponentDominance(Rule):
    """A component that is nearly all of the total.

    The weights come from the monitor's `loss=`. Without it, only components that add up to the total are judged.

    Args:
        share: of the sum of magnitudes of the weighted components, in (0, 1]. Dice beside the mean cross-entropy of
            mostly empty pixels reaches 0.99 in a sound training.
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
        return {name: self._verdict(name, mean) for name, mean in means.items()}

    def _verdict(self, name: str, mean: float) -> Finding | None:
        if mean <= self.share:
            return None
        hint = f"the other components are negligible beside {name!r}: raise their weights, or remove them"
        return Finding("info", {"component": name, "share": mean}, hint)


def _weighted(update: Update, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the magnitude of each component with a weight; nothing if the weights are unknown."""
    parts = update.components
    if weights:
        return {name: abs(weights[name] * value) for name, value in parts.items() if weights.get(name)}
    adds_up = update.loss is not None and math.isclose(sum(parts.values()), update.loss, rel_tol=1e-4)
    return {name: abs(value) for name, value in parts.items()} if adds_up else {}


@dataclass(frozen=True, kw_only=True)
class DeadComponent(Rule):
    """A component that has a weight and no effect: no gradient, always zero, or always the same value.

    Updates with only empty targets are left out, because many components are rightly zero there. So are those with a
    total of zero. The gradients come from the monitor's `loss=`.

    Args:
        share: of the sum of the gradients' norms, in (0, 1]. A component below it has no gradient. The precision of
            float32 is 1e-7.
        updates: minimum for a value to be called constant, >= 2; to a window with fewer, those before it are added.
    Reads: loss, components, weights, gradients, Example.empty.
    """

    share: float = 1e-6
    updates: int = 5
    needed: int = 3
    of: int = 3

    shares: ClassVar = frozenset({"share"})

    def check(self, window: Window) -> Verdicts:
        judged = window.last(_judged, self.updates)
        verdicts: dict[str, Finding | None] = {}
        if len({update.loss for update in judged}) > 1:
            for name in _names(judged, window):
                values = [update.components[name] for update in judged if name in update.components]
                if len(values) >= self.updates:
                    same = max(values) - min(values) <= ROUNDING * max(abs(update.loss or 0.0) for update in judged)
                    verdicts[name] = self._found(name, {"value": values[0]}) if same else None
        whole = sum(window.gradients.values())
        if len(window.gradients) > 1 and 0 < whole < math.inf and judged and judged[-1] is window.updates[-1]:
            for name, norm in window.gradients.items():
                if window.weights.get(name) and norm < self.share * whole:
                    verdicts[name] = self._found(name, {"gradient_share": norm / whole})
                else:
                    verdicts.setdefault(name, None)
        return verdicts

    def _found(self, name: str, evidence: dict[str, float]) -> Finding:
        hint = f"{name!r} has no effect on the training: check that it depends on the prediction, that it is not"
        hint += " clipped or rounded, and that its masks leave some pixels; set its weight to 0 to log it only"
        return Finding("warning", {"component": name, **evidence}, hint)


def _names(updates: list[Update], window: Window) -> list[str]:
    """Return the components with a weight, or all if the weights are unknown. A single one is the total: none."""
    names = dict.fromkeys(name for update in updates for name in update.components)
    weighted = [name for name in names if not window.weights or window.weights.get(name)]
    return weighted if len(weighted) > 1 else []


def _judged(update: Update) -> list[Update]:
    """Return the update; nothing if its total is zero or all known targets are empty."""
    known = [example.empty for example in update.examples if example.empty is not None]
    return [update] if update.loss and not (known and all(known)) else []
