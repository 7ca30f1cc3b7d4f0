"""Where events go. A sink is any callable of an event."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from lossreg.health.event import HealthEvent

Sink = Callable[[HealthEvent], object]

log = logging.getLogger("lossreg.health")

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class JsonLines:
    """Append events to a file, one line of strict JSON each. What was written before is kept; ranks may share a file.

    Args:
        path: of the file, made with its folder by the first event.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, event: HealthEvent) -> None:
        line = json.dumps(event.as_dict(), allow_nan=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:  # one write, which other processes cannot come between
            file.write(line.encode())


def to_log(event: HealthEvent) -> None:
    """Log to `lossreg.health`, at the level of the event's severity."""
    log.log(LEVELS[event.severity], "%s", event)


def to_hooks(event: HealthEvent) -> None:
    """Call `lossreg_health_event` of the packages that are installed."""
    from lossreg.discovery import hooks

    hooks().call("lossreg_health_event", event=event)
