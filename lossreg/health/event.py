"""Events: a finding of a rule as the monitor reports it, and the warning that carries it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
Kind = Literal["data", "fault", "unknown"]

MAX_SAMPLES = 16  # ids in an event: enough to look at, few enough for a line of a log


@dataclass(frozen=True)
class HealthEvent:
    """A finding of a rule in the last updates.

    Args:
        rule: class name of the rule, such as "Collapse".
        severity: "info" for later reading, "warning" if you should look at it, "error" if further training is useless.
        step: of the update with the finding.
        evidence: the numbers behind the verdict, by name. JSON-ready: infinities and NaN are the texts "inf", "-inf",
            "nan".
        hint: the remedy.
        sample_ids: ids of the examples concerned, at most 16; empty if no ids were given.
        kind: "data" if the targets are the cause, "fault" if the training is, "unknown" if neither is certain.
        rank: the process with the finding.
    """

    rule: str
    severity: Severity
    step: int
    evidence: Mapping[str, Any]
    hint: str
    sample_ids: tuple[str, ...] = ()
    kind: Kind = "fault"
    rank: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", json_ready(self.evidence))
        object.__setattr__(self, "sample_ids", tuple(self.sample_ids[:MAX_SAMPLES]))

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {_shown(value)}" for name, value in self.evidence.items())
        samples = f" Samples: {', '.join(self.sample_ids)}." if self.sample_ids else ""
        return f"{self.rule} at step {self.step} ({self.severity}, {self.kind}): {numbers}. {self.hint}.{samples}"

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as plain data, ready for JSON."""
        return asdict(self) | {"sample_ids": list(self.sample_ids)}


Action = Literal["warn", "raise", "stop"] | Callable[[HealthEvent], object]


@dataclass(frozen=True)
class Finding:
    """A finding of a rule in one window. The monitor reports it if it persists.

    Args:
        severity, evidence, hint, kind: those of an event.
        sample_ids: those of an event, without its limit.
        step: of the update; None for the window's last.
        patience: updates for which it must be found without a break before it is reported, instead of the rule's
            `needed` windows; 0 for those.
        level: a number that rises while the training recovers, >= 0. A rising level delays the report.
    """

    severity: Severity
    evidence: Mapping[str, Any]
    hint: str
    kind: Kind = "fault"
    sample_ids: tuple[str, ...] = field(default=())
    step: int | None = None
    patience: int = 0
    level: float = 0.0

    def event(self, rule: str, step: int, rank: int) -> HealthEvent:
        """Return the event of a rule's name, in a window that ends at `step`."""
        step = step if self.step is None else self.step
        return HealthEvent(rule, self.severity, step, self.evidence, self.hint, self.sample_ids, self.kind, rank)


def action_for(own: Action | None, common: Action, finding: Finding) -> Action:
    """Return the action on a finding: that of its rule, or else of the monitor, which raises and stops for errors."""
    if own is not None:
        return own
    return "warn" if common in ("raise", "stop") and finding.severity != "error" else common


def ends_training(own: Action | None, common: Action) -> bool:
    """Return whether a rule with its own action, or the monitor's, can end a training."""
    return (common if own is None else own) in ("raise", "stop")


class HealthWarning(UserWarning):
    """An event, or a doubtful setting of the monitor, as a warning."""


def json_ready(value: Any) -> Any:
    """Return a copy for strict JSON. Numbers that are not finite become text, because JSON has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        more = f", and {len(value) - 4} more" if len(value) > 4 else ""
        return "[" + ", ".join(map(_shown, value[:4])) + more + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {_shown(item)}" for key, item in value.items()) + "}"
    return str(value)
