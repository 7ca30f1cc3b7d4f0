"""Where events go: to sinks, which are any callables of an event, and to the actions of their rules."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from lossreg.health.event import Action, HealthEvent, HealthWarning

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
    from lossreg.registries import hooks

    hooks().call("lossreg_health_event", event=event)


class Delivery:
    """The sinks that still work.

    Args:
        sinks: callables of an event.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)

    def deliver(self, told: Sequence[tuple[HealthEvent, Action]]) -> None:
        """Every sink first, so that nothing is lost if an action raises."""
        for event, _ in told:
            for sink in tuple(self._sinks):
                self._send(sink, event)
        for event, action in told:
            if callable(action):
                action(event)
            elif action == "warn" and event.severity != "info":
                warnings.warn(str(event), HealthWarning, stacklevel=2)
            elif action != "raise":  # which the error tells
                to_log(event)

    def _send(self, sink: Sink, event: HealthEvent) -> None:
        try:
            sink(event)
        except Exception as error:  # noqa: BLE001 - whatever fails there, the training goes on
            self._sinks.remove(sink)
            name = getattr(sink, "__qualname__", type(sink).__qualname__)
            message = f"the sink {name} failed and is left out: {type(error).__name__}: {error}"
            warnings.warn(message, HealthWarning, stacklevel=2)
