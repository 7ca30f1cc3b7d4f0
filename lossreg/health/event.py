"""What the monitor says: an event, the warning it becomes, and the error that ends a training."""

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
    """Something that a rule found in the last updates.

    Args:
        rule: class name of the rule, such as "Collapse".
        severity: "info" to be read some day, "warning" to be looked at, "error" if training on is of no use.
        step: of the update at which it was found.
        evidence: the numbers that decided, by name. JSON-ready: infinities and NaN are the texts "inf", "-inf", "nan".
        hint: what to do.
        sample_ids: of the examples concerned, 16 at most; empty where no ids were given.
        kind: "data" if the targets are the cause, "fault" if the training is, "unknown" if that cannot be told.
        rank: the process that found it.
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
        """A copy as plain data, for JSON."""
        return asdict(self) | {"sample_ids": list(self.sample_ids)}


Action = Literal["warn", "raise", "stop"] | Callable[[HealthEvent], object]


@dataclass(frozen=True)
class Finding:
    """What a rule found in one window, before the monitor asks whether it persists.

    Args:
        severity, evidence, hint, kind: as in an event.
        sample_ids: as in an event, all of them.
        step: of the update; None for the window's last.
    """

    severity: Severity
    evidence: Mapping[str, Any]
    hint: str
    kind: Kind = "fault"
    sample_ids: tuple[str, ...] = field(default=())
    step: int | None = None


class HealthWarning(UserWarning):
    """An event, as `warnings.warn` shows it."""


def json_ready(value: Any) -> Any:
    """A copy that strict JSON can hold. JSON has no numbers that are not finite, so those become text."""
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
