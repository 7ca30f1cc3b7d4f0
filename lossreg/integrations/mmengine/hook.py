"""The hook of MMEngine's runner for the Tracked losses of its model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner

from lossreg.config.factory import config_of
from lossreg.errors import InputError, LossregError
from lossreg.integrations.context import BatchKeys, facts_of
from lossreg.integrations.learnable import check_trained
from lossreg.integrations.tracked import Tracked


@HOOKS.register_module(force=True)
class LossHook(Hook):
    """A hook for every Tracked loss in the model: `custom_hooks = [dict(type="LossHook")]`.

    Each training log line has `total_loss` and `loss_<component>`; visualizers get the means over an epoch, or since
    the last validation, as `train/total_loss`. A validation adds `val/total_loss` to its metrics, for
    `CheckpointHook(save_best="val/total_loss", rule="less")`. Several losses have their place in the model in between,
    as in `val/decode_head.loss_decode/total_loss`. Events of a monitor go to the log of the runner, and one that stops,
    stops the training as EarlyStoppingHook does. A checkpoint has the config of the loss at `["meta"]["loss"]`.

    Args:
        batch_keys: where a batch has sample_ids, dataset, path and caption, such as {"sample_ids": "id"}. None for the
            keys of these names, and for the img_path of data_samples.
        val_loss: True calls the model once more for each validation batch, with mode="loss", for models whose
            mode="predict" computes no loss, as in mmsegmentation.
        reports: a directory for `{job}_{step:09d}.json` with every checkpoint: the loss of each recorded example.
        job: name of the reports; None for the runner's experiment_name.
    Raises:
        InputError: by the runner, if the model has no Tracked loss, a loss's parameters are not trained, the model
            returns the parts of a loss beside its total, or there are reports without records.
    """

    priority = "NORMAL"  # before LoggerHook

    def __init__(
        self,
        batch_keys: BatchKeys | None = None,
        val_loss: bool = False,
        reports: str | Path | None = None,
        job: str | None = None,
    ) -> None:
        self.batch_keys = batch_keys
        self.val_loss = val_loss
        self.reports = reports
        self.job = job
        self._losses: dict[str, Tracked] = {}  # by their part of a key, such as "aux.loss/"; "" for the only one
        self._saved: Any = None

    def before_run(self, runner: Runner) -> None:
        found = {name: part for name, part in _model(runner).named_modules() if isinstance(part, Tracked)}
        self._losses = {"" if len(found) == 1 else f"{name}/": part for name, part in found.items()}
        if not found:
            raise InputError(
                "LossHook finds no loss in the model; write self.loss = MODELS.build(dict(type='lossreg', ...))"
            )

    def before_train(self, runner: Runner) -> None:
        self._saved = runner.message_hub.runtime_info.get("last_ckpt")
        wrapper = runner.optim_wrapper
        optimizers = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        for loss in self._losses.values():
            check_trained(loss, [each.optimizer for each in optimizers], "give the optimiser model.parameters()")
        if self.reports is not None and all(loss.records is None for loss in self._losses.values()):
            raise InputError("reports need records: write dict(type='lossreg', ..., records='runs/7/records')")

    def _before_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = "train") -> None:
        facts = _facts(data_batch, self.batch_keys)
        facts["size"] = _genuine(getattr(runner, f"{mode}_dataloader"), batch_idx)
        if mode == "train":
            self._after_checkpoint(runner)
            facts |= {"step": runner.iter, "epoch": runner.epoch}
        for loss in self._losses.values():
            loss.context.begin(split=mode, **facts)
            loss.last = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        for key, loss in self._losses.items():
            if batch_idx == 0:
                _check_sum(loss, outputs or {})
            if latest := loss.latest("train", f"train/{key}"):
                # MMEngine has read the total at this point, and waits for no more than these.
                values = torch.stack([value.float() for value in latest.values()]).tolist()
                runner.message_hub.update_scalars(dict(zip(latest, values, strict=True)))
            _log_events(runner, loss)
            if loss.should_stop:
                runner.train_loop.stop_training = True

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.val_loss:
            model = _model(runner)
            with torch.no_grad():
                model._run_forward(model.data_preprocessor(data_batch, False), mode="loss")

    def after_train_epoch(self, runner: Runner) -> None:
        self._log_means(runner)

    def before_val(self, runner: Runner) -> None:
        self._log_means(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._add_means(runner, "val", metrics)
        self._after_checkpoint(runner)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._add_means(runner, "test", metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        configs = {key.rstrip("/"): config for key, loss in self._losses.items() if (config := _config(loss))}
        if configs:
            checkpoint["meta"]["loss"] = configs.get("", configs)

    def after_train(self, runner: Runner) -> None:
        self._after_checkpoint(runner)

    def after_run(self, runner: Runner) -> None:
        for loss in self._losses.values():
            loss.close()
            _log_events(runner, loss)

    def _log_means(self, runner: Runner) -> None:
        """Log the means of training since the last ones. A validation without training has none."""
        means = self._means("train")
        if means:
            by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)
            runner.visualizer.add_scalars(means, step=runner.iter if by_iter else runner.epoch + 1)

    def _add_means(self, runner: Runner, split: str, metrics: dict[str, float] | None) -> None:
        """Add the means of a validation or test to its metrics and its log line."""
        means = self._means(split)
        for name, value in means.items():
            # The log would have the mean of this and earlier validations, as for every name with "loss".
            runner.message_hub.log_scalars.pop(f"{split}/{name}", None)
            runner.message_hub.update_scalar(f"{split}/{name}", value)
        if metrics is not None:
            metrics.update(means)

    def _means(self, split: str) -> dict[str, float]:
        means: dict[str, float] = {}
        for key, loss in self._losses.items():
            means |= loss.read(split, f"{split}/{key}")
        return means

    def _after_checkpoint(self, runner: Runner) -> None:
        """Write records and reports on every rank once there is a new checkpoint, which rank 0 alone saves."""
        saved = runner.message_hub.runtime_info.get("last_ckpt")
        if saved == self._saved:
            return
        self._saved = saved
        job = self.job or runner.experiment_name
        for key, loss in self._losses.items():
            loss.flush()
            if self.reports is not None and loss.records is not None:
                loss.write_report(self.reports, f"{job}-{key.rstrip('/')}" if key else job, runner.iter)


def _log_events(runner: Runner, loss: Tracked) -> None:
    for event in loss.events():
        runner.logger.warning(str(event))


def _model(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _config(loss: Tracked) -> dict[str, Any] | None:
    try:
        return config_of(loss)
    except LossregError:
        return None  # of a loss from its constructor


def _facts(batch: Any, keys: BatchKeys | None) -> dict[str, Any]:
    """Return the facts of a batch; by default those of the data samples of OpenMMLab's libraries."""
    facts = facts_of(batch, keys)
    samples = batch.get("data_samples") if keys is None and isinstance(batch, Mapping) else None
    paths = [getattr(sample, "img_path", None) for sample in samples or ()]
    if paths and None not in paths:
        facts = {"sample_ids": paths, "path": paths} | facts
    return facts


def _genuine(loader: Any, batch: int) -> int | None:
    """Return the number of genuine examples from a batch on: MMEngine's sampler repeats some to have equal ranks."""
    sampler = loader.sampler
    if not isinstance(sampler, DefaultSampler) or not sampler.round_up or loader.batch_size is None:
        return None
    own: int = -(-(len(sampler.dataset) - sampler.rank) // sampler.world_size)
    before: int = batch % len(loader) * loader.batch_size
    return max(own - before, 0)


def _check_sum(loss: Tracked, outputs: Mapping[str, Any]) -> None:
    """Check that the model returns the total alone: MMEngine would train the sum of the total and its parts."""
    parts = [name for name in loss.latest("train", "") if name in outputs]
    if len(parts) > 1:
        raise InputError(
            f"the model returns {', '.join(parts)} of one loss, and MMEngine trains the sum of all values whose key"
            " contains 'loss'; return {'loss': total} alone, LossHook logs the parts"
        )
