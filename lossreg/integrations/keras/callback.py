"""The callback of a Keras model with a KerasLoss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from lossreg.health import HealthEvent
from lossreg.integrations.keras.outputs import losses_of
from lossreg.integrations.tracked import Tracked


class LossCallback(keras.callbacks.Callback):
    """A callback that logs, watches and records the KerasLoss of a model. It is the first in the list.

        model.fit(images, masks, callbacks=[LossCallback(), ModelCheckpoint("best.keras", monitor="val_total_loss")])

    The logs of an epoch get `total_loss` and `loss_<component>`, means over the examples, those of validation with
    `val_` before, and of a loss with a monitor `health_events`, the number of its events in this epoch. Several outputs
    have their name before that, as in `val_mask_total_loss`. A monitor that stops, stops the training. The step is the
    number of optimiser steps. Callbacks before this one in the list do not see these logs.

    Args:
        reports: a directory for `{job}_{step:09d}.json` after every epoch: the loss of each recorded example.
        job: name of the reports.
    Attributes:
        events: of the monitors.
    Raises:
        InputError: as training begins, if the model has no KerasLoss, one has several outputs, or its activation is not
            that of the model; after an epoch, if there are reports without records.
    """

    def __init__(self, reports: str | Path | None = None, job: str = "run") -> None:
        super().__init__()
        self.reports = reports
        self.job = job
        self.events: list[HealthEvent] = []
        self._losses: dict[str, Tracked] = {}  # by the beginning of their keys, such as "mask_"; "" for the only one
        self._epoch: int | None = None  # None outside fit
        self._batches = 0  # of the training so far

    def on_train_begin(self, logs: Any = None) -> None:
        self._losses = losses_of(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        # Once an epoch this reads a number from the device, which a restart has set.
        steps, each = int(self.model.optimizer.iterations), self._accumulated()
        if self._batches // each != steps:
            self._batches = steps * each
        self._reset()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._begin("train")
        self._batches += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if any(loss.should_stop for loss in self._losses.values()):
            self.model.stop_training = True

    def on_test_begin(self, logs: Any = None) -> None:
        if self._epoch is None:
            self._losses = losses_of(self.model)
            self._reset()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._begin("val")

    def on_test_end(self, logs: Any = None) -> None:
        if self._epoch is None:
            self._end(logs, ("val", ""))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._end(logs, ("train", ""), ("val", "val_"))
        if self.reports is not None:
            step = int(self.model.optimizer.iterations)
            for key, loss in self._losses.items():
                loss.write_report(self.reports, "_".join(filter(None, [self.job, key.rstrip("_")])), step)

    def on_train_end(self, logs: Any = None) -> None:
        self._epoch = None
        for loss in self._losses.values():
            if loss.monitor is not None:  # not closed: a model is often fitted again
                self.events += loss.monitor.flush()

    def _accumulated(self) -> int:
        return getattr(self.model.optimizer, "gradient_accumulation_steps", None) or 1

    def _begin(self, split: str) -> None:
        step = self._batches // self._accumulated()
        for loss in self._losses.values():
            loss.context.begin(step=step, epoch=self._epoch, split=split)

    def _end(self, logs: dict[str, Any], *splits: tuple[str, str]) -> None:
        """Add the means of splits, under their prefixes, and the number of events to the logs."""
        for key, loss in self._losses.items():
            for split, prefix in splits:
                logs.update(loss.read(split, f"{prefix}{key}"))
            if loss.monitor is not None:
                events = loss.events()
                self.events += events
                logs[f"{key}health_events"] = len(events)
            loss.flush()
            loss.context.begin(split=None)

    def _reset(self) -> None:
        for loss in self._losses.values():
            loss.reset()
