"""Which findings become events: those that persist, and of which was not told just now."""

from __future__ import annotations

from collections import deque

from lossreg.health.event import SEVERITIES, Finding
from lossreg.health.rules.rule import Rule, Verdicts


class Persistence:
    """The last verdicts of one rule, for each of its keys."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._verdicts: dict[str, deque[bool]] = {}
        self._silence: dict[str, tuple[int, int]] = {}  # windows left, and the severity that was told

    def forget(self) -> None:
        """Start anew, as after a step back."""
        self._verdicts.clear()
        self._silence.clear()

    def passed(self, verdicts: Verdicts) -> list[Finding]:
        """The findings of a window that are to be told now."""
        self._silence = {key: (left - 1, told) for key, (left, told) in self._silence.items() if left > 0}
        due = []
        for key, finding in verdicts.items():
            last = self._verdicts.setdefault(key, deque(maxlen=self._rule.of))
            last.append(finding is not None)
            if finding is None or sum(last) < self._rule.needed:
                continue
            grave = SEVERITIES.index(finding.severity)
            if key in self._silence and grave <= self._silence[key][1]:
                continue
            self._silence[key] = self._rule.cooldown, grave
            due.append(finding)
        return due
