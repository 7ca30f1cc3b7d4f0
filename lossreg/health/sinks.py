"""Sinks and actions: the receivers of events."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from lossreg.health.event import Action, HealthEvent, HealthWarning
from lossreg.messages import warn, with_type
from lossreg.registries import hooks

Sink = Callable[[HealthEvent], object]

log = logging.getLogger("lossreg.health")

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class JsonLines:
    """A sink that appends each event to a file, as one line of strict JSON. Several processes may share the file.

    Args:
        path: the file. The first event creates it and its folder; existing lines are kept.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, event: HealthEvent) -> None:
        line = json.dumps(event.as_dict(), allow_nan=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:  # one write, so that lines of processes do not mix
            file.write(line.encode())


def to_log(event: HealthEvent) -> None:
    """Log to `lossreg.health`, at the level of the event's severity."""
    log.log(LEVELS[event.severity], "%s", event)


def to_hooks(event: HealthEvent) -> None:
    """Call the hook `lossreg_health_event` of installed packages."""
    hooks().call("lossreg_health_event", event=event)


class Delivery:
    """Delivery of events to sinks and actions. A sink that raises is disabled.

    Args:
        sinks: callables of an event.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)

    def deliver(self, events: Sequence[tuple[HealthEvent, Action]]) -> None:
        """Call all sinks, then the actions, so that no event is lost if an action raises."""
        for event, _ in events:
            for sink in tuple(self._sinks):
                self._send(sink, event)
        for event, action in events:
            if callable(action):
                action(event)
            elif action == "warn" and event.severity != "info":
                warn(str(event), HealthWarning)
            elif action != "raise":  # the error reports the event
                to_log(event)

    def _send(self, sink: Sink, event: HealthEvent) -> None:
        try:
            sink(event)
        except Exception as error:  # noqa: BLE001 - no error of a sink may stop the training
            self._sinks.remove(sink)
            name = getattr(sink, "__qualname__", type(sink).__qualname__)
            message = f"the sink {name} raised {with_type(error)}; it is disabled"
            warn(message, HealthWarning)
