"""The loss of a Trainer: at the right scale, in its logs and metrics, and in its checkpoints."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback
from transformers.trainer_pt_utils import find_batch_size
from transformers.trainer_utils import get_last_checkpoint

from lossreg.config.factory import config_of
from lossreg.errors import InputError, LossregError
from lossreg.integrations.accelerate import genuine
from lossreg.integrations.learnable import add_to_optimizer, check_trained, keep_equal, parameters_of
from lossreg.integrations.tracked import Tracked
from lossreg.integrations.transformers.collator import FACTS
from lossreg.integrations.transformers.outputs import with_loss
from lossreg.records.atomic_write import write_text

CONFIG, STATE = "loss.json", "loss.pt"  # files in a checkpoint

# Methods of a Trainer that a subclass may override. Those of TrainerLoss run around them.
METHODS = (
    "compute_loss",
    "create_optimizer",
    "evaluation_loop",
    "get_batch_samples",
    "log",
    "prediction_step",
    "save_model",
    "train",
    "training_step",
)


class TrainerLoss(TrainerCallback):
    """The loss of a Trainer. Each of its methods in `METHODS` gets the Trainer's own method first.

    Args:
        trainer, tracked, reports, job: as for `attach`.
    """

    def __init__(self, trainer: Trainer, tracked: Tracked, reports: str | Path | None, job: str) -> None:
        self.trainer = trainer
        self.tracked = tracked
        self.reports = reports
        self.job = job
        self._examples = 1  # of the micro-batch in training
        self._last: Any = None  # the last micro-batch of a step, and how many of its examples are no padding
        self._genuine: int | None = None
        self._dataset: str | None = None  # in an evaluation of several
        self._initial = deepcopy(tracked.state_dict())

    def compute(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Tensor:
        """Compute the loss of a batch; in training, its share in the mean over the examples of the step."""
        if labels is None:
            raise InputError(
                "the Trainer passes no 'labels': name the target so in the data collator. If it has several parts, call"
                " the loss in a subclass of Trainer, with loss_is_scaled_for_ga = False, that overrides compute_loss"
            )
        total = self.tracked(outputs, labels)
        if num_items_in_batch is None or not torch.is_grad_enabled():
            return total
        ranks = self.trainer.accelerator.num_processes  # over which the gradients are averaged
        is_sum = getattr(self.tracked.loss, "reduction", "mean") == "sum"
        share: int | Tensor = ranks if is_sum else self._examples * ranks / num_items_in_batch
        return total * share

    def compute_loss(self, inner: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Keep the Trainer from multiplying the loss by the number of processes, and from losing predictions."""
        settings = self.trainer.args
        given, settings.average_tokens_across_devices = settings.average_tokens_across_devices, False
        try:
            found = inner(*args, **options)
        finally:
            settings.average_tokens_across_devices = given
        return (found[0], with_loss(*found)) if isinstance(found, tuple) else found

    def get_batch_samples(self, inner: Callable[..., Any], *args: Any, **options: Any) -> tuple[list[Any], Any]:
        """Count the examples of a step in all processes, where the Trainer counts labels."""
        batches, _ = inner(*args, **options)
        accelerator = self.trainer.accelerator
        self._last, self._genuine = (batches or [None])[-1], genuine(accelerator)
        examples = sum(map(_examples_of, batches))
        if accelerator.num_processes == 1:
            return batches, examples
        return batches, accelerator.reduce(torch.full((), examples, device=accelerator.device), "sum")

    def training_step(self, inner: Callable[..., Any], model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        """Begin a micro-batch of the training."""
        self._examples = _examples_of(inputs)
        self._begin(inputs, self._genuine if inputs is self._last else None, int(self.trainer.state.epoch or 0))
        return inner(model, inputs, *args, **options)

    def prediction_step(self, inner: Callable[..., Any], model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        """Begin a batch of an evaluation."""
        epoch = self.trainer.state.epoch  # 1.0 is the end of the epoch 0
        epoch = None if epoch is None else max(math.ceil(epoch) - 1, 0)
        self._begin(inputs, genuine(self.trainer.accelerator), epoch)
        return inner(model, inputs, *args, **options)

    def evaluation_loop(
        self,
        inner: Callable[..., Any],
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """Add the means of the loss to the metrics: before they are logged, and the best model is chosen by them."""
        kind, _, name = metric_key_prefix.partition("_")
        if kind == "train":  # the data of the training, whose own means and rows these are not
            kind, name = "eval", metric_key_prefix
        split, self._dataset = ("val" if kind == "eval" else kind), name or None
        self.tracked.read(split, reduce=False)  # of an evaluation that broke off
        self.tracked.context.split, was = split, self.tracked.training
        self.tracked.eval()
        try:
            output = inner(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        finally:
            self.tracked.train(was)
            self.tracked.context.begin(split=None)
            self._dataset = None
        output.metrics.update(self.tracked.read(split, f"{metric_key_prefix}_"))
        self.tracked.flush()
        return output

    def log(self, inner: Callable[..., Any], logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Add the means of the loss and the findings of the monitor to the logs of the training."""
        if {"loss", "learning_rate"} <= logs.keys():
            logs.update(self.tracked.read("train", ""))
        events = self.tracked.events()
        if "train_loss" in logs and self.tracked.monitor is not None:  # the end
            events += self.tracked.monitor.flush()
        logs.update(Counter(f"health/{event.rule}" for event in events))
        inner(logs, *args, **options)

    def create_optimizer(self, inner: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Add the parameters of the loss, unless a scheduler exists that would not know them."""
        optimizer = inner(*args, **options)
        if self.trainer.lr_scheduler is None:
            add_to_optimizer(self.tracked, self.trainer.optimizer)
        return optimizer

    def save_model(self, inner: Callable[..., Any], output_dir: str | None = None, *args: Any, **options: Any) -> None:
        """Save the config and the state of the loss beside the model."""
        if self.trainer.args.should_save:
            folder = Path(output_dir or self.trainer.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            for file in (CONFIG, STATE):  # of an earlier training
                (folder / file).unlink(missing_ok=True)
            with suppress(LossregError):  # of a loss that was made by its constructor
                write_text(folder / CONFIG, json.dumps(config_of(self.tracked), indent=2) + "\n")
            if state := self.tracked.state_dict():
                torch.save(state, folder / STATE)
        inner(output_dir, *args, **options)

    def train(
        self, inner: Callable[..., Any], resume_from_checkpoint: str | bool | None = None, *args: Any, **options: Any
    ) -> Any:
        """Load the state of the loss from the checkpoint; the first one where each training makes a new model."""
        if self.trainer.model_init is not None:
            self.tracked.load_state_dict(self._initial)
        folder = resume_from_checkpoint
        if folder is True:
            folder = get_last_checkpoint(self.trainer.args.output_dir)
        if folder:
            self._load(Path(folder) / STATE)
        return inner(resume_from_checkpoint, *args, **options)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.tracked.reset()
        self._clear()
        keep_equal(self.tracked)
        how = "give them to yours: optimizers=(SGD([*model.parameters(), *loss.parameters()]), scheduler)"
        check_trained(self.tracked, [self.trainer.optimizer], how)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._clear()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop |= self.tracked.should_stop

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.tracked.flush()
        if self.reports is not None:
            self.tracked.write_report(self.reports, self.job, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._load(Path(state.best_model_checkpoint) / STATE)
        self.tracked.flush()

    def _load(self, path: Path) -> None:
        if path.is_file():
            self.tracked.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def _clear(self) -> None:
        """Clear the gradients of the loss: the Trainer clears those of the model alone."""
        for parameter in parameters_of(self.tracked):
            parameter.grad = None

    def _begin(self, inputs: Any, size: int | None, epoch: int | None) -> None:
        facts = {"dataset": self._dataset} | inputs.pop(FACTS, {})
        self.tracked.context.begin(step=self.trainer.state.global_step, epoch=epoch, size=size, **facts)


def _examples_of(inputs: Any) -> int:
    labels = inputs.get("labels")
    return int(find_batch_size(inputs) or 1) if labels is None or isinstance(labels, Mapping) else len(labels)
