"""The base of rules: thresholds, and a pure function from the statistics of a window to findings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from lossreg.errors import InputError
from lossreg.health.event import Action, Finding
from lossreg.health.window import Window

Verdicts = Mapping[str, Finding | None]

LEAST = {"examples": 1, "updates": 2, "factor": 1}  # lower limits of thresholds; 0 for all others


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """Base class of rules. A subclass adds thresholds as fields, and implements `check`.

    Args:
        needed: windows with the same finding, among the last `of`, that make an event, >= 1.
        of: number of last windows with a verdict, >= needed.
        cooldown: windows without a second event of the same finding, >= 0. A higher severity is reported at once.
        action: "warn", "raise", "stop" or a callable of the event; None for the monitor's.
    """

    needed: int = 1
    of: int = 1
    cooldown: int = 10
    action: Action | None = None

    shares: ClassVar[frozenset[str]] = frozenset()  # thresholds that are shares, in (0, 1]

    def __post_init__(self) -> None:
        for threshold in fields(self):
            name, value = threshold.name, getattr(self, threshold.name)
            if isinstance(threshold.default, (int, float)) and not _is_number(value, like=threshold.default):
                kind = "an integer" if isinstance(threshold.default, int) else "a number"
                self._refuse(f"{name} to be {kind}", **{name: value})
            if name in self.shares and not 0 < value <= 1:
                self._refuse(f"0 < {name} <= 1", **{name: value})
            elif isinstance(value, (int, float)) and value < (least := LEAST.get(name, 0)):
                self._refuse(f"{name} >= {least}", **{name: value})
        if not 1 <= self.needed <= self.of:
            self._refuse("1 <= needed <= of", needed=self.needed, of=self.of)
        if self.action is not None and self.action not in ("warn", "raise", "stop") and not callable(self.action):
            self._refuse("action to be 'warn', 'raise', 'stop', a callable of the event, or None", action=self.action)

    def _refuse(self, allowed: str, **given: object) -> None:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise InputError(f"{type(self).__name__} requires {allowed}, got {shown}", **given)

    @property
    def history(self) -> int:
        """Return the number of totals before the window that `check` reads."""
        return 0

    @abstractmethod
    def check(self, window: Window) -> Verdicts:
        """Return a finding, or None if all is well, by key. Leave out keys with too little data for a verdict.

        A key names something that persists by itself, such as a class; "" if there is only one.
        """

    def combine(self, found: Sequence[Finding]) -> Sequence[Finding]:
        """Return the findings to report, one event each. A rule may merge those of several keys into one."""
        return found


def _is_number(value: object, *, like: float) -> bool:
    allowed = int if isinstance(like, int) else (int, float)
    return isinstance(value, allowed) and not isinstance(value, bool) and value == value
