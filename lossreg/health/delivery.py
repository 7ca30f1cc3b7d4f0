"""Brings events to their sinks and takes the actions of their rules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from lossreg.health.event import Action, HealthEvent, HealthWarning
from lossreg.health.sinks import Sink, to_log


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
