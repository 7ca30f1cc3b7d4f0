"""What a rule is: thresholds, and a pure function from the statistics of a window to what is found in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from lossreg.errors import InputError
from lossreg.health.event import Action, Finding
from lossreg.health.window import Window

Verdicts = Mapping[str, Finding | None]

LEAST = {"examples": 1, "updates": 2, "factor": 1}  # of thresholds; of all others 0


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """Base of the rules. A subclass adds thresholds as fields, and writes `check`.

    Args:
        needed: windows among the last `of` in which the same thing must be found, >= 1.
        of: judged windows that are looked at, >= needed.
        cooldown: windows of silence about the same thing after an event, >= 0; a graver severity is told at once.
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
                self._refuse(f"{kind} as {name}", **{name: value})
            if name in self.shares and not 0 < value <= 1:
                self._refuse(f"0 < {name} <= 1", **{name: value})
            elif isinstance(value, (int, float)) and value < (least := LEAST.get(name, 0)):
                self._refuse(f"{name} >= {least}", **{name: value})
        if not 1 <= self.needed <= self.of:
            self._refuse("1 <= needed <= of", needed=self.needed, of=self.of)
        if self.action is not None and self.action not in ("warn", "raise", "stop") and not callable(self.action):
            self._refuse("action 'warn', 'raise', 'stop', a callable of the event, or None", action=self.action)

    def _refuse(self, allowed: str, **given: object) -> None:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise InputError(f"{type(self).__name__} takes {allowed}, got {shown}", **given)

    @property
    def history(self) -> int:
        """How many totals before the window it reads."""
        return 0

    @abstractmethod
    def check(self, window: Window) -> Verdicts:
        """What is found, or None, for each thing that this window has enough of to judge. The others are left out.

        The keys tell things apart that persist each for itself, such as classes.
        """

    def combine(self, found: Sequence[Finding]) -> Sequence[Finding]:
        """What is told of the things that persist, one event each. A rule of many classes may make one of them."""
        return found


def _is_number(value: object, *, like: float) -> bool:
    allowed = int if isinstance(like, int) else (int, float)
    return isinstance(value, allowed) and not isinstance(value, bool) and value == value
