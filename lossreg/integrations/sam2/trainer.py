"""SAM 2's trainer, with steps, examples, reports and stops for its Sam2Loss losses."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.trainer import Trainer

from lossreg.config.factory import config_of
from lossreg.errors import InputError
from lossreg.integrations.learnable import add_to_optimizer, keep_equal, parameters_of
from lossreg.integrations.sam2.loss import Sam2Loss


class Sam2Trainer(Trainer):
    """SAM 2's trainer for `Sam2Loss`: write `_target_: lossreg.integrations.sam2.trainer.Sam2Trainer` in its config.

    The statistics of an epoch get `train/total_loss`, `train/loss_<component>` and `val/...`: means over all examples
    and ranks. With several losses their keys are in between, as in `val/sav/total_loss`. Records get the step, the
    epoch, and "video/object" as the id, with "/frame" for losses of single frames; without an id where the loss has
    `adapt`. Parameters of a loss are trained with the learning rate of the first group, without weight decay. A monitor
    that stops, ends the training after the epoch; its events are logged. A checkpoint has the configs at "loss_config".

    Args:
        reports: a directory for `{job}_{step:09d}.json` with every checkpoint: the loss of each recorded example.
        job: name of the reports.
        save_best: True saves `best_total_loss.pt` where `val/total_loss` is the least so far.
        options: of SAM 2's trainer.
    Raises:
        InputError: no loss is a Sam2Loss; or reports without records.
    """

    def __init__(
        self, *, reports: str | Path | None = None, job: str = "sam2", save_best: bool = False, **options: Any
    ) -> None:
        self.reports = reports
        self.job = job
        self.save_best = save_best
        super().__init__(**options)
        for _, loss in self._tracked():
            keep_equal(loss)

    def _setup_components(self) -> None:
        super()._setup_components()
        tracked = [loss for _, loss in self._tracked()]
        if not tracked:
            raise InputError("Sam2Trainer finds no loss; write loss.all._target_: lossreg.integrations.sam2.Sam2Loss")
        if self.reports is not None and all(loss.records is None for loss in tracked):
            raise InputError("reports need records: write loss.all.records: runs/7/records")

    def _move_to_device(self) -> None:
        super()._move_to_device()
        self.loss.to(self.device)

    def _construct_optimizers(self) -> None:
        super()._construct_optimizers()
        for _, loss in self._tracked():
            if parameters_of(loss):
                add_to_optimizer(loss, self.optim.optimizer)
                if self.optim.schedulers is not None:
                    options = self.optim.schedulers[0].items()
                    self.optim.schedulers.append({name: value for name, value in options if name != "weight_decay"})

    def _step(self, batch: Any, model: Any, phase: str) -> Any:
        loss = self.loss[batch.dict_key]
        if isinstance(loss, Sam2Loss):
            ids = None if loss.records is None else _ids(batch, loss.examples)
            step, dataset = self.steps["train"], batch.dict_key
            loss.context.begin(step=step, epoch=int(self.epoch), split=phase, sample_ids=ids, dataset=dataset)
        found = super()._step(batch, model, phase)
        if isinstance(loss, Sam2Loss):
            _log_events(loss)
        return found

    def train_epoch(self, train_loader: Any) -> dict[str, float]:
        """Train an epoch, and end the training if a monitor stops."""
        found: dict[str, float] = super().train_epoch(train_loader)
        if any(loss.should_stop for _, loss in self._tracked()):
            self.max_epochs = self.epoch + 1
        return found | self._means("train")

    def val_epoch(self, val_loader: Any, phase: str) -> dict[str, float]:
        """Validate, and with save_best save the best model so far."""
        found: dict[str, float] = super().val_epoch(val_loader, phase)
        means = self._means("val")
        total = sum(value for name, value in means.items() if name.endswith("/total_loss"))
        if self.save_best and means and total < self.best_meter_values.get("val/total_loss", math.inf):
            self.best_meter_values["val/total_loss"] = total
            self.save_checkpoint(self.epoch + 1, ["best_total_loss"])
        return found | means

    def save_checkpoint(self, epoch: int, checkpoint_names: list[str] | None = None) -> None:
        """Save a checkpoint, the records and a report. Every rank calls it."""
        super().save_checkpoint(epoch, checkpoint_names)
        for key, loss in self._tracked():
            loss.flush()
            if self.reports is not None and loss.records is not None:
                job = f"{self.job}-{key.rstrip('/')}" if key else self.job
                loss.write_report(self.reports, job, self.steps["train"])

    def _save_checkpoint(self, checkpoint: dict[str, Any], checkpoint_path: str) -> None:
        checkpoint["loss_config"] = {
            name: config_of(loss) for name, loss in self.loss.items() if isinstance(loss, Sam2Loss)
        }
        super()._save_checkpoint(checkpoint, checkpoint_path)

    def run(self) -> None:
        """Run, and write the last records and events at the end."""
        super().run()
        for _, loss in self._tracked():
            loss.close()
            _log_events(loss)

    def _means(self, split: str) -> dict[str, float]:
        means: dict[str, float] = {}
        for key, loss in self._tracked():
            means |= loss.read(split, f"{split}/{key}")
        return means

    def _tracked(self) -> Iterator[tuple[str, Sam2Loss]]:
        """Yield each loss with its part of a key; "" for the only one."""
        found = [(name, loss) for name, loss in (self.loss or {}).items() if isinstance(loss, Sam2Loss)]
        for name, loss in found:
            yield ("" if len(found) == 1 else f"{name}/"), loss


def _log_events(loss: Sam2Loss) -> None:
    for event in loss.events():
        logging.warning(str(event))


def _ids(batch: Any, examples: str) -> list[str] | None:
    """Return the name of each example. The host reads them, which waits for the device."""
    if not examples:
        return None
    names = batch.metadata.unique_objects_identifier.tolist()  # (T, N, 3): video, object, frame
    if examples == "objects":
        return ["/".join(map(str, name[:2])) for name in names[0]]
    return ["/".join(map(str, name)) for frame in names for name in frame]
