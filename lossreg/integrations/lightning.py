"""Lightning: a callback that logs, watches and records the Tracked losses of a module."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import DistributedSampler

from lossreg.config.model import LossConfig
from lossreg.errors import InputError
from lossreg.integrations.context import BatchKeys, facts_of
from lossreg.integrations.learnable import check_trained
from lossreg.integrations.tracked import Tracked
from lossreg.messages import is_installed, require

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from lossreg.health import HealthEvent

# The package has two names. A trainer of one takes callbacks of the other; its command line does not.
if not is_installed("pytorch_lightning"):
    require("lightning", extra="lightning", use="LossCallback")
_is_old = "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules
_Callback: Any = import_module(
    "pytorch_lightning" if _is_old or not is_installed("lightning") else "lightning.pytorch"
).Callback


class LossCallback(_Callback):
    """A callback for every Tracked loss that is an attribute of the module, as in `self.loss = Tracked("dice")`.

        trainer = Trainer(callbacks=[LossCallback({"sample_ids": "id"}), ModelCheckpoint(monitor="val/total_loss")])

    Logs `train/total_loss` and `train/loss_<component>` of each batch, the means of an epoch with the suffix `_epoch`,
    and the means over validation and test sets as `val/...` and `test/...`. Several losses have their attributes in
    between, as in `val/mask_loss/total_loss`. A finding of a monitor is `health/<rule>`, 1 at its step. A monitor that
    stops, stops the training. Records get the step, the epoch and the examples; the sanity check, and the padding of a
    DistributedSampler in an evaluation, count nowhere.

    Args:
        batch_keys: where a batch has sample_ids, dataset, path and caption, such as {"sample_ids": "id"}, or
            {"sample_ids": 2} for a tuple. None for the keys of these names.
        reports: a directory for `{job}_{step:09d}.json` with every checkpoint: the loss of each recorded example.
        job: name of the reports.
        prog_bar: True shows the totals in the progress bar.
    Raises:
        InputError: by the Trainer, if the module has no Tracked loss, the parameters of one are not trained, or reports
            have no records.
    """

    def __init__(
        self,
        batch_keys: BatchKeys | None = None,
        reports: str | Path | None = None,
        job: str = "run",
        prog_bar: bool = False,
    ) -> None:
        self.batch_keys = batch_keys
        self.reports = reports
        self.job = job
        self.prog_bar = prog_bar
        self._losses: dict[str, Tracked] = {}  # by their part of a key, such as "mask_loss/"; "" for a single one

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._losses = _losses_of(pl_module)
        for loss in self._losses.values():
            loss.reset()
            # Searches for a learning rate or a batch size run without this callback, and count nowhere.
            loss.context.begin(step=trainer.global_step, epoch=trainer.current_epoch, counts=False)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._losses = _losses_of(pl_module)  # configure_model may have made them after setup
        if not self._losses:
            raise InputError("LossCallback finds no loss: write self.loss = Tracked(loss) in __init__ of the module")
        held = {id(value) for each in trainer.optimizers for group in each.param_groups for value in group["params"]}
        for loss in self._losses.values():
            if any(id(value) in held for value in pl_module.parameters()):  # some strategies keep flat copies instead
                check_trained(loss, trainer.optimizers, "make the optimiser of self.parameters(), which has them")
        if self.reports is not None and not any(loss.records for loss in self._losses.values()):
            raise InputError("reports need records: write self.loss = Tracked(..., records='runs/7/records')")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._begin(trainer, "train", batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for key, loss in self._losses.items():
            self._log(pl_module, loss.latest("train", f"train/{key}"), on_step=True, on_epoch=False)
            _log_events(trainer, key, loss.events())
            trainer.should_stop = trainer.should_stop or loss.should_stop

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for key, loss in self._losses.items():
            means = {f"{name}_epoch": value for name, value in loss.read("train", f"train/{key}").items()}
            self._log(pl_module, means, on_step=False, on_epoch=True, sync_dist=True)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        loop = trainer.fit_loop.epoch_loop.val_loop if trainer.state.fn == "fit" else trainer.validate_loop
        self._begin(trainer, "val", batch, _genuine(loop, dataloader_idx, batch_idx))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_means(pl_module, "val")

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._begin(trainer, "test", batch, _genuine(trainer.test_loop, dataloader_idx, batch_idx))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_means(pl_module, "test")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for key, loss in self._losses.items():
            if loss.monitor is not None:  # not closed: the module may be fitted again
                _log_events(trainer, key, loss.monitor.flush())

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # Lightning loads plain data alone.
        if "hyper_parameters" in checkpoint:
            checkpoint["hyper_parameters"] = _plain(checkpoint["hyper_parameters"])
        for key, loss in self._losses.items():
            loss.flush()
            # A rank that failed saves alone. Before the first step, there is nothing to report.
            is_due = loss.records is not None and not trainer.interrupted and trainer.global_step > 0
            if self.reports is not None and is_due:
                job = "_".join([self.job, *key.split("/")[:-1]])
                loss.write_report(self.reports, job, trainer.global_step)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._leave()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._leave()

    def _begin(self, trainer: Trainer, split: str, batch: Any, size: int | None = None) -> None:
        facts = facts_of(batch, self.batch_keys)
        facts |= {"step": trainer.global_step, "epoch": trainer.current_epoch, "split": split, "size": size}
        self._losses = self._losses or _losses_of(trainer.lightning_module)
        for loss in self._losses.values():
            loss.context.begin(counts=not trainer.sanity_checking, **facts)
            loss.last = None  # nothing is logged of a batch that does not call it

    def _leave(self) -> None:
        for loss in self._losses.values():
            loss.flush()
            loss.context.begin(step=None, epoch=None, split=None, counts=True)

    def _log_means(self, pl_module: LightningModule, split: str) -> None:
        for key, loss in self._losses.items():
            self._log(pl_module, loss.read(split, f"{split}/{key}"), on_step=False, on_epoch=True, sync_dist=True)

    def _log(self, pl_module: LightningModule, values: Mapping[str, Any], **options: bool) -> None:
        """Log values. Means are equal on all ranks already, but Lightning warns without sync_dist."""
        for name, value in values.items():
            pl_module.log(name, value, prog_bar=self.prog_bar and name.endswith("/total_loss"), **options)


def _losses_of(module: LightningModule) -> dict[str, Tracked]:
    """Return the Tracked losses of a module by their part of a key."""
    found = {f"{name}/": each for name, each in module.named_modules() if isinstance(each, Tracked)}
    return found if len(found) > 1 else dict(zip([""], found.values(), strict=False))


def _log_events(trainer: Trainer, key: str, events: Sequence[HealthEvent]) -> None:
    """Log events at once: the Trainer would log those of some steps alone."""
    for event in events:
        for logger in trainer.loggers:
            logger.log_metrics({f"health/{key}{event.rule}": 1.0}, step=event.step)


def _genuine(loop: Any, index: int, batch: int) -> int | None:
    """Return the number of a batch's examples, without those with which a DistributedSampler pads; None for all."""
    loaders = loop._combined_loader  # what the trainer shows may be those of an earlier loop
    if loaders._mode != "sequential":
        return None
    loader = loaders.flattened[index]
    sampler: Any = getattr(loader, "sampler", None)
    if not isinstance(sampler, DistributedSampler) or not loader.batch_size:
        return None
    own = len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))  # type: ignore[arg-type]
    return max(0, own - int(batch * loader.batch_size))


def _plain(value: Any) -> Any:
    """Return hyperparameters with the configs as mappings."""
    if isinstance(value, LossConfig):
        return value.model_dump(exclude_none=True)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if type(value) is list else value
