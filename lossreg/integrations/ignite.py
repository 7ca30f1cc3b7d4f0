"""Ignite: a handler that brings a `Tracked` loss to the metrics, the log and the records of engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from ignite.engine import CallableEventWithFilter, Engine, Events, EventsList
from torch.optim import Optimizer
from torch.utils.data import DistributedSampler

from lossreg.config.factory import config_of
from lossreg.errors import InputError, LossregError
from lossreg.integrations.context import BatchKeys, facts_of
from lossreg.integrations.learnable import check_trained, keep_equal
from lossreg.integrations.tracked import Tracked

ENDS = Events.EPOCH_COMPLETED | Events.TERMINATE_SINGLE_EPOCH | Events.TERMINATE


def pair_of(output: Any) -> tuple[Any, Any]:
    """Return prediction and target from the output of an evaluator: a pair, or a mapping with y_pred and y."""
    if isinstance(output, Mapping) and {"y_pred", "y"} <= set(output):
        return output["y_pred"], output["y"]
    if isinstance(output, Sequence) and len(output) == 2:
        return output[0], output[1]
    raise InputError(
        "the output of the evaluator is no pair of prediction and target; choose them by a function, as in"
        " LossHandler(..., output_transform=lambda output: (output['logits'], output['mask']))"
    )


class LossHandler:
    """A handler that gives the engines of ignite all that a `Tracked` loss has.

        loss = Tracked("dice", monitor="stop", records="runs/7/records")
        trainer = create_supervised_trainer(model, optimizer, loss)
        evaluator = create_supervised_evaluator(model)
        LossHandler(loss, batch_keys={"sample_ids": 2}).attach(trainer, evaluator)

    The means of an epoch are in `engine.state.metrics`, as "train/total_loss", "train/loss_dice", "val/total_loss",
    before other handlers of the epoch's end see them. Events of the monitor go to the logger of the trainer, which
    terminates where the monitor stops. In a checkpoint, it is the config and the state of the loss.

    Args:
        tracked: the loss that the trainer calls.
        batch_keys: where a loader's batch has sample_ids, dataset, path and caption, as for `facts_of`.
        optimizer: all that train; needed for a loss with parameters of its own, and compared with them at the start.
        output_transform: a function of an evaluator's output, which returns prediction and target; None for those of
            a pair, or at "y_pred" and "y".
        reports: directory of the reports, `{job}_{step:09d}.json`; None for none.
        job: name of the job, which begins the name of a report.
        report_at: event of the trainer for a report, such as `Events.ITERATION_COMPLETED(every=1000)`.
    Raises:
        InputError: the loss is no Tracked, or has no records and shall have reports.
    """

    # The event at which the output of an evaluator holds prediction and target, and the function that finds them.
    computed: Any = Events.ITERATION_COMPLETED
    pair_of: Callable[[Any], tuple[Any, Any]] = staticmethod(pair_of)

    def __init__(
        self,
        tracked: Tracked,
        *,
        batch_keys: BatchKeys | None = None,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        output_transform: Callable[[Any], tuple[Any, Any]] | None = None,
        reports: str | Path | None = None,
        job: str = "train",
        report_at: Events | CallableEventWithFilter | EventsList = Events.EPOCH_COMPLETED,
    ) -> None:
        if not isinstance(tracked, Tracked):
            raise InputError(
                f"LossHandler takes the loss of the trainer as a Tracked, got {type(tracked).__name__}; write"
                " loss = Tracked(...), and give it to both"
            )
        if reports is not None and tracked.records is None:
            raise InputError("reports need the loss of each example: write Tracked(..., records='runs/7/records')")
        self.tracked = tracked
        self.batch_keys = batch_keys
        self.optimizers = [optimizer] if isinstance(optimizer, Optimizer) else optimizer
        self.output_transform = output_transform or self.pair_of
        self.reports = reports
        self.job = job
        self.report_at = report_at
        self._trainer: Engine | None = None
        self._outer = copy(tracked.context)  # as an evaluator began
        self._before: Any = None  # the output of the loss before the batch

    def attach(self, engine: Engine, evaluator: Engine | None = None) -> None:
        """Attach to a trainer, and to the evaluator of its validation. A second time changes nothing."""
        if not engine.has_event_handler(self._start, Events.STARTED):
            self._trainer = engine
            engine.add_event_handler(Events.STARTED, self._start)
            self._watch(engine, "train")
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._follow)
            # A run that is terminated may skip the second event.
            engine.add_event_handler(Events.TERMINATE | Events.COMPLETED, self._end)
        if evaluator is not None:
            self.attach_evaluator(evaluator)

    def attach_evaluator(self, engine: Engine, split: str = "val") -> None:
        """Attach to an evaluator. Its loss is computed here, unless the step of the evaluator has called it.

        Args:
            engine: the evaluator.
            split: of its examples, which begins the names of its metrics; another one than the trainer's.
        Raises:
            InputError: the split is "train".
        """
        if split == "train":
            raise InputError(
                "split='train' is that of the trainer, whose means, records and monitor would have these examples, too;"
                " write another name, such as split='train_set'"
            )
        if not engine.has_event_handler(self._begin, Events.ITERATION_STARTED):
            engine.add_event_handler(Events.STARTED, self._enter)
            engine.add_event_handler(self.computed, self._compute)
            self._watch(engine, split)
            engine.add_event_handler(Events.TERMINATE | Events.COMPLETED, self._leave)

    def state_dict(self) -> dict[str, Any]:
        """Return the config and the state of the loss. The records up to here are written."""
        self.tracked.flush()
        try:
            config = config_of(self.tracked)
        except LossregError:  # from its constructor
            config = None
        return {"config": config, "loss": self.tracked.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the state of the loss."""
        self.tracked.load_state_dict(state["loss"])

    def _watch(self, engine: Engine, split: str) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget, split)
        engine.add_event_handler(Events.ITERATION_STARTED, self._begin, split)
        # Handlers of the epoch's end see the metrics in any order, as they are there before that event.
        engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=_is_last), self._publish, split=split)
        engine.add_event_handler(ENDS, self._publish, split=split)

    def _start(self, engine: Engine) -> None:
        optimizers = self.optimizers or [each for each in [getattr(engine, "optimizer", None)] if each is not None]
        how = "give it the parameters of both, as in Adam([*model.parameters(), *loss.parameters()])"
        check_trained(
            self.tracked, optimizers, how if optimizers else f"{how}, and write LossHandler(..., optimizer=optimizer)"
        )
        keep_equal(self.tracked)
        # Attached now, it comes after the handlers that run the validation.
        if self.reports is not None and not engine.has_event_handler(self._report):
            engine.add_event_handler(self.report_at, self._report)
        if not engine.has_event_handler(self._flush):
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._flush)

    def _forget(self, engine: Engine, split: str) -> None:
        """Forget the means of an epoch that broke off."""
        self.tracked.read(split, reduce=False)

    def _begin(self, engine: Engine, split: str) -> None:
        facts = self._facts(engine.state.batch)
        if self._trainer is not None:
            facts |= {"step": self._trainer.state.iteration, "epoch": self._trainer.state.epoch}
        self.tracked.context.begin(split=split, size=_genuine(engine), **facts)
        self._before = self.tracked.last

    def _facts(self, batch: Any) -> dict[str, Any]:
        return facts_of(batch, self.batch_keys)

    def _compute(self, engine: Engine) -> None:
        if self.tracked.last is self._before:
            prediction, target = self.output_transform(engine.state.output)
            with torch.no_grad():
                self.tracked(prediction, target)

    def _enter(self, engine: Engine) -> None:
        """Keep the context: the evaluator may run within an iteration of the trainer, before its step."""
        self._outer = copy(self.tracked.context)

    def _leave(self, engine: Engine) -> None:
        vars(self.tracked.context).update(vars(self._outer))

    def _publish(self, engine: Engine, *_: Any, split: str, **__: Any) -> None:  # with the event's own arguments
        engine.state.metrics.update(self.tracked.read(split))

    def _follow(self, engine: Engine) -> None:
        for event in self.tracked.events():
            engine.logger.warning("%s", event)
        if self.tracked.should_stop:
            engine.terminate()

    def _end(self, engine: Engine) -> None:
        self.tracked.flush()
        if self.tracked.monitor is not None:
            for event in self.tracked.monitor.flush():  # unlike close, it leaves the monitor to another run
                engine.logger.warning("%s", event)

    def _flush(self, engine: Engine) -> None:
        self.tracked.flush()

    def _report(self, engine: Engine) -> None:
        if self.reports is not None and self.tracked.context.counts:
            self.tracked.write_report(self.reports, self.job, engine.state.iteration)


def _is_last(engine: Engine, _: int) -> bool:
    """Return True at the last iteration of an epoch, as far as the length of an epoch is known."""
    length = engine.state.epoch_length
    return length is not None and engine.state.iteration % length == 0


def _genuine(engine: Engine) -> int | None:
    """Return the number of examples of the batch that are no padding of a DistributedSampler; None for all."""
    loader: Any = engine.state.dataloader
    length = engine.state.epoch_length
    sampler, batch = getattr(loader, "sampler", None), getattr(loader, "batch_size", None)
    if not isinstance(sampler, DistributedSampler) or type(sampler).__iter__ is not DistributedSampler.__iter__:
        return None
    if batch is None or length not in (None, len(loader)):
        return None
    # A rank has every n-th example, and the padding follows the last.
    own = len(range(sampler.rank, len(loader.dataset), sampler.num_replicas))
    number = (engine.state.iteration - 1) % (length or engine.state.iteration)
    return int(max(0, min(batch, own - number * batch)))
