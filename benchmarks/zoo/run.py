"""One run: a training with a seed under a monitor, and the monitor's reports."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossreg.errors import LossregError
from lossreg.health import HealthEvent, HealthWarning, LossMonitor
from zoo.training import Training, Update

LAST = 50  # updates at the end whose predictions are compared with the targets


class Report(NamedTuple):
    """The first report of a rule with this severity."""

    rule: str  # or "refused", "doubt"
    severity: str
    update: int
    text: str


class Result(NamedTuple):
    """What came of a run.

    Args:
        reports: in their order.
        updates: of the monitor.
        quality: IoU or accuracy over the last updates; None without predictions.
        first_loss, last_loss: means over the first and the last updates.
        seconds: of the processor.
    """

    name: str
    seed: int
    reports: tuple[Report, ...]
    updates: int
    quality: float | None
    first_loss: float
    last_loss: float
    seconds: float


def run(training: Training, seed: int, *, whole: bool = False) -> Result:
    """Run a training. A broken one ends when it is reported, unless it is to run as a whole."""
    start = time.process_time()
    watch = Watch(training)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            course = training.course(training, seed)
            watch.open(course.loss)
            for update in course.updates():
                watch.update(update)
                watch.doubts(caught)
                if not whole and watch.is_reported():
                    break
            else:
                watch.close()
        except LossregError as error:
            watch.note("refused", "error", str(error))
    return watch.result(seed, time.process_time() - start)


class Watch:
    """A monitor with its user, who counts updates and notes the reports."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.updates = 0
        self.reports: dict[tuple[str, str], Report] = {}
        self.last: list[Update] = []
        self.losses: list[Tensor] = []

    def open(self, loss: object) -> None:
        """Make the monitor."""
        options: dict[str, Any] = {"loss": loss} if self.training.watches_loss else {}
        self._monitor = LossMonitor(action=self._note, **options, **self.training.monitor)

    def update(self, given: Update) -> None:
        """Give one update to the monitor."""
        self.updates += 1
        total = given.output if isinstance(given.output, Tensor) else given.output.total
        self.losses.append(total.detach().mean().float())
        self.last = [*self.last[1 - LAST :], given]
        self._monitor.update(given.output, prediction=given.prediction, target=given.target, step=given.step)

    def _note(self, event: HealthEvent) -> None:
        self.note(event.rule, event.severity, str(event))

    def note(self, rule: str, severity: str, text: str) -> None:
        """Note the first report of a rule."""
        self.reports.setdefault((rule, severity), Report(rule, severity, self.updates, text))

    def doubts(self, caught: list[warnings.WarningMessage]) -> None:
        """Note the monitor's own warnings; the events went to its action."""
        while caught:
            warning = caught.pop()
            if issubclass(warning.category, HealthWarning):
                self.note("doubt", "warning", str(warning.message))

    def is_reported(self) -> bool:
        """Return True if one of the expected rules has reported."""
        return any(rule in self.training.expected for rule, _ in self.reports)

    def close(self) -> None:
        """End the training."""
        self._monitor.close()

    def result(self, seed: int, seconds: float) -> Result:
        """Return what came of it."""
        ends = [torch.stack(part).nanmean().item() for part in (self.losses[:LAST], self.losses[-LAST:]) if part]
        first, last = (ends[0], ends[-1]) if ends else (float("nan"), float("nan"))
        quality = agreement(self.last, probabilities=self.training.monitor.get("activation") == "none")
        return Result(
            self.training.name, seed, tuple(self.reports.values()), self.updates, quality, first, last, seconds
        )


def agreement(updates: list[Update], *, probabilities: bool) -> float | None:
    """Return the IoU of the foreground over updates, of class indices (N,) the accuracy; None without predictions."""
    parts = list(_parts(updates, 0.5 if probabilities else 0.0))
    if not parts:
        return None
    inside, whole = (float(sum(numbers)) for numbers in zip(*parts, strict=True))
    return inside / whole if whole else 1.0


def _parts(updates: list[Update], threshold: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the number of right foreground pixels, and of those that are foreground or predicted as such."""
    for _, prediction, target, _ in updates:
        if prediction is None or target is None or not len(prediction):
            continue
        valid = target != 255
        if target.ndim == prediction.ndim:
            found, foreground = prediction > threshold, target > 0.5
            yield (found & foreground & valid).sum(), ((found | foreground) & valid).sum()
            continue
        named = prediction.argmax(1)
        counted = valid & ((named > 0) | (target > 0)) if target.ndim > 1 else valid
        yield ((named == target) & counted).sum(), counted.sum()
