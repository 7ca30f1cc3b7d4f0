"""`attach`, which gives a Trainer its loss."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TypeVar

from transformers import Trainer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lossreg.errors import InputError
from lossreg.integrations.adapt import Adapt
from lossreg.integrations.context import BatchKeys
from lossreg.integrations.tracked import Tracked
from lossreg.integrations.transformers.collator import carry
from lossreg.integrations.transformers.outputs import logits_of
from lossreg.integrations.transformers.trainer_loss import METHODS, TrainerLoss

AnyTrainer = TypeVar("AnyTrainer", bound=Trainer)


def attach(
    trainer: AnyTrainer,
    loss: Tracked,
    *,
    batch_keys: BatchKeys | None = None,
    reports: str | Path | None = None,
    job: str = "train",
) -> AnyTrainer:
    """Give a Trainer its loss, and return the Trainer.

        loss = Tracked("dice", monitor="stop", records="runs/7/records")
        trainer = attach(Trainer(model, args, train_dataset=train, eval_dataset=val), loss)
        trainer.train()

    The loss of a training step is the mean over its examples, in all its micro-batches and all processes.
    Logs have `total_loss` and `loss_<component>`, evaluations `eval_total_loss` and `eval_loss_<component>`: reporters
    show them under train/ and eval/. A monitor that stops, stops the training; a finding is logged as `health/<rule>`.
    Each checkpoint holds the config and the state of the loss, and resuming loads the state.

    Args:
        trainer: without a `compute_loss_func`.
        loss: which is called with the output of the model and the labels. Unless it adapts its inputs itself, it gets
            the `logits` of an output, or the first of a tuple, and pictures of them at the size of the labels, or
            tokens with the classes second.
        batch_keys: the columns of the data with sample_ids, dataset, path and caption, such as {"sample_ids": "id"},
            for records. They need not be inputs of the model.
        reports: a directory for `{job}_{step:09d}.json` with every checkpoint: the loss of each recorded example.
        job: name of the reports.
    Raises:
        InputError: a loss that is not Tracked, or settings of the Trainer under which it would train wrongly.
    """
    _check(trainer, loss, reports)
    attached = TrainerLoss(trainer, loss, reports, job)
    if loss.adapt is None:
        vars(loss)["adapt"] = logits_of
    loss.to(trainer.args.device)
    # Without names, the Trainer drops the labels of a model whose forward does not take them.
    trainer.label_names = trainer.label_names or ["labels"]
    trainer.compute_loss_func = attached.compute
    if type(trainer).compute_loss is Trainer.compute_loss:
        trainer.loss_is_scaled_for_ga = True
    if batch_keys is not None:
        carry(trainer, batch_keys)
    for name in METHODS:
        setattr(trainer, name, partial(getattr(attached, name), getattr(trainer, name)))
    trainer.add_callback(attached)
    return trainer


def _check(trainer: Trainer, loss: Tracked, reports: str | Path | None) -> None:
    if not isinstance(loss, Tracked):
        raise InputError(f"attach takes a Tracked loss, got {type(loss).__name__}; write attach(trainer, Tracked(...))")
    if trainer.compute_loss_func is not None:
        raise InputError("the Trainer has a compute_loss_func, or a loss, already: make a Trainer without one")
    name = type(trainer).__name__
    if type(trainer).compute_loss is not Trainer.compute_loss and trainer.loss_is_scaled_for_ga is None:
        raise InputError(
            f"{name} overrides compute_loss: say in the class loss_is_scaled_for_ga = False if it calls the loss"
            " itself, = True if it calls super().compute_loss, or remove the override"
        )
    if reports is not None and loss.records is None:
        raise InputError("reports need records: write Tracked(..., records='runs/7/records')")
    if trainer.args.label_smoothing_factor:
        raise InputError(
            "label_smoothing_factor changes the Trainer's own loss alone: leave it at 0, and take a loss that smooths,"
            " such as Tracked(torch.nn.CrossEntropyLoss(label_smoothing=0.1))"
        )
    model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    is_causal = type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    if is_causal and (loss.adapt is None or isinstance(loss.adapt, Adapt)):
        raise InputError(
            f"{type(model).__name__} predicts the next token, and no loss shifts the labels: write Tracked(...,"
            " adapt=lambda output, labels: (output['logits'][:, :-1].movedim(-1, 1), labels[:, 1:]))"
        )
    metric = str(trainer.args.metric_for_best_model).removeprefix("eval_")
    for name in trainer.eval_dataset if isinstance(trainer.eval_dataset, dict) else ():
        metric = metric.removeprefix(f"{name}_")
    if trainer.args.greater_is_better and metric.startswith(("loss_", "total_loss")):
        raise InputError(f"the best {metric} is the least: write TrainingArguments(..., greater_is_better=False)")
