"""Debouncing of findings: report one when it persists, then stay silent for the cooldown."""

from __future__ import annotations

from collections import deque

from lossreg.health.event import SEVERITIES, Finding
from lossreg.health.rules.rule import Rule, Verdicts


class Debounce:
    """The last verdicts of one rule, by key."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._verdicts: dict[str, deque[bool]] = {}
        self._silence: dict[str, tuple[int, int]] = {}  # windows left, and the severity that was reported

    def reset(self) -> None:
        """Forget all verdicts, as after a step back."""
        self._verdicts.clear()
        self._silence.clear()

    def findings(self, verdicts: Verdicts) -> list[Finding]:
        """Add the verdicts of a window, and return the findings to report now."""
        self._silence = {key: (left - 1, level) for key, (left, level) in self._silence.items() if left > 0}
        due = []
        for key, finding in verdicts.items():
            last = self._verdicts.setdefault(key, deque(maxlen=self._rule.of))
            last.append(finding is not None)
            if finding is None or sum(last) < self._rule.needed:
                continue
            level = SEVERITIES.index(finding.severity)
            if key in self._silence and level <= self._silence[key][1]:
                continue
            self._silence[key] = self._rule.cooldown, level
            due.append(finding)
        return due
