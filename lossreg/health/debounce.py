"""Debouncing of findings: report one when it persists, then stay silent for the cooldown."""

from __future__ import annotations

from collections import deque
from statistics import fmean

from lossreg.health.event import SEVERITIES, Finding
from lossreg.health.rules.rule import Rule, Verdicts

RISE = 1.2  # of a finding's level, from the earlier to the later half of a stretch, that is a recovery


class Debounce:
    """The last verdicts of one rule, by key."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._verdicts: dict[str, deque[bool]] = {}
        self._stretches: dict[str, Stretch] = {}
        self._silence: dict[str, tuple[int, int]] = {}  # windows left, and the severity that was reported

    def reset(self) -> None:
        """Forget all verdicts, as for another training."""
        self._verdicts.clear()
        self._stretches.clear()
        self._silence.clear()

    def findings(self, verdicts: Verdicts, updates: int = 1) -> list[Finding]:
        """Add the verdicts of a window with a number of updates, and return the findings to report now."""
        self._silence = {key: (left - 1, level) for key, (left, level) in self._silence.items() if left > 0}
        due = []
        for key, finding in verdicts.items():
            if not self._persists(key, finding, updates) or finding is None:
                continue
            level = SEVERITIES.index(finding.severity)
            if key in self._silence and level <= self._silence[key][1]:
                continue
            self._silence[key] = self._rule.cooldown, level
            due.append(finding)
        return due

    def _persists(self, key: str, finding: Finding | None, updates: int) -> bool:
        last = self._verdicts.setdefault(key, deque(maxlen=self._rule.of))
        stretch = self._stretches.setdefault(key, Stretch())
        last.append(finding is not None and not finding.patience)
        if finding is None:
            stretch.end()
            return False
        stretch.add(updates, finding.level)
        if finding.patience:
            return stretch.lasts(finding.patience)
        return sum(last) >= self._rule.needed


class Stretch:
    """Successive windows with the same finding: their updates, and the level of each."""

    def __init__(self) -> None:
        self._windows: deque[tuple[int, float]] = deque()

    def end(self) -> None:
        """Begin again, with no window."""
        self._windows.clear()

    def add(self, updates: int, level: float) -> None:
        """Add a window."""
        self._windows.append((updates, level))

    def lasts(self, patience: int) -> bool:
        """Return True if the stretch has as many updates, in two windows at least, and its level does not rise."""
        while len(self._windows) > 2 and sum(count for count, _ in self._windows) - self._windows[0][0] >= patience:
            self._windows.popleft()  # so that the levels of the last updates are compared, and no more are kept
        levels = [level for _, level in self._windows]
        if len(levels) < 2 or sum(count for count, _ in self._windows) < patience:
            return False
        half = len(levels) // 2
        return fmean(levels[-half:]) <= RISE * fmean(levels[:half])
