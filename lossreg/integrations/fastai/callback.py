"""The callback of a fastai learner with a Tracked loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.learner import ValueMetric
from fastai.torch_core import find_bs, to_device
from torch import Tensor, nn

from lossreg.errors import InputError
from lossreg.health import HealthEvent
from lossreg.integrations.adapt import plain
from lossreg.integrations.fastai.examples import facts_of_batch
from lossreg.integrations.learnable import check_trained, keep_equal, parameters_of
from lossreg.integrations.tracked import Tracked


class LossCallback(Callback):
    """A callback that logs, watches and records the `Tracked` loss of a learner.

        learn = Learner(dls, model, loss_func=Tracked("dice"), cbs=LossCallback())
        learn.fit(5, cbs=SaveModelCallback(monitor="val/total_loss"))

    The recorder gets the columns `train/total_loss`, `train/loss_<component>`, `val/...`, means over the examples, and
    with a monitor `health_events`, the number of its events in an epoch. With `Recorder(train_metrics=True)` they are
    `train_total_loss` and `valid_total_loss`. Their names come from a validation batch before the first fit. A monitor
    that stops, stops the fit. Steps are training batches; they and the epochs go on in the next fit.
    `lr_find`, `get_preds`, `predict` and `show_results` count nowhere.

    Records name the examples by the items of the data: a Path is the path, a text or a number is the sample_id. Data
    without items have "train/0", "val/0", ...

    Args:
        name_of: a function that returns the sample_id of an item.
        reports: a directory for `{job}_{step:09d}.json` after every epoch of a fit: the loss of each recorded example.
        job: name of the reports.
    Attributes:
        events: of the monitor.
    Raises:
        InputError: by `fit`, if the loss of the learner is not Tracked, or has parameters that its optimiser lacks;
            after an epoch, if there are reports without records.
    """

    order = 49  # before the Recorder, which reads the columns

    def __init__(
        self,
        name_of: Callable[[Any], str | int] | None = None,
        reports: str | Path | None = None,
        job: str = "run",
    ) -> None:
        super().__init__()
        self.name_of = name_of
        self.reports = reports
        self.job = job
        self.events: list[HealthEvent] = []
        self._means: dict[str, float] = {}
        self._batches = self._epochs = 0  # of the training so far
        self._begin = (0, 0)  # the same at the beginning of this fit
        self._trains = False
        self._kept: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Return the attribute of the learner, which has another `loss`."""
        return "loss_callback"

    def after_create(self) -> None:
        if parameters_of(self._loss()):
            self.learn.splitter = partial(_with_loss, given=self.learn.splitter, loss=self._loss())

    def before_fit(self) -> None:
        loss = self._loss()
        if self.learn.opt is not None and parameters_of(loss):
            check_trained(
                loss, [self.learn.opt], "give LossCallback() to the Learner: Learner(..., cbs=LossCallback())"
            )
            for parameter in parameters_of(loss):
                self.learn.opt.state[parameter]["do_wd"] = False
            keep_equal(loss)
        self._trains = False
        self._begin = (self._batches, self._epochs)
        # A search for a learning rate puts the weights of the model back, and not those of the loss.
        self._kept = copy.deepcopy(loss.state_dict()) if hasattr(self.learn, "lr_finder") else None
        loss.reset()
        loss.context.begin(step=self._batches, epoch=self._epochs)
        self._means.clear()
        if hasattr(self.learn, "recorder"):
            self._add_columns(loss)

    def before_train(self) -> None:
        if self._counts():
            self._trains = True
            batches, epochs = self._begin
            self._epochs = epochs + self.learn.epoch
            self._batches = batches + self.learn.epoch * len(self.learn.dl)

    def before_batch(self) -> None:
        split = "train" if self.learn.training else "val"
        size = find_bs(self.learn.yb) if self.learn.yb else 0
        facts = facts_of_batch(self.learn.dl, self.learn.iter, size, split, self.name_of) if self._counts() else {}
        where = {"step": self._batches, "epoch": self._epochs, "split": split, "counts": self._counts()}
        self._loss().context.begin(**where, **facts)

    def after_batch(self) -> None:
        if self.learn.training and self._counts():
            self._batches += 1
            if self._loss().should_stop:
                raise CancelFitException

    def after_train(self) -> None:
        self._read("train")

    def after_validate(self) -> None:
        if self._counts():
            events = self._loss().events()
            self.events += events
            self._means["health_events"] = len(events)
            self._read("val")

    def after_epoch(self) -> None:
        if self._trains:
            self._loss().flush()
            if self.reports is not None:
                self._loss().write_report(self.reports, self.job, self._batches)

    def after_fit(self) -> None:
        loss = self._loss()
        if self._trains:
            self._epochs += 1
            if loss.monitor is not None:  # not closed: a learner is often fitted again
                self.events += [*loss.events(), *loss.monitor.flush()]
        if self._kept is not None:
            loss.load_state_dict(self._kept)
        loss.flush()
        loss.context.begin(split=None, counts=True)

    def _loss(self) -> Tracked:
        loss = self.learn.loss_func
        if not isinstance(loss, Tracked):
            raise InputError("LossCallback finds no loss: write Learner(..., loss_func=Tracked('dice'))")
        return loss

    def _counts(self) -> bool:
        return not hasattr(self.learn, "lr_finder") and not hasattr(self.learn, "gather_preds")

    def _read(self, split: str) -> None:
        self._means.update(self._loss().read(split, self._prefix()))

    def _prefix(self) -> str | None:
        """Return "" where the recorder writes train_ and valid_ before the names itself."""
        recorder = getattr(self.learn, "recorder", None)
        return "" if recorder is not None and recorder.train_metrics else None

    def _add_columns(self, loss: Tracked) -> None:
        """Add a metric for each mean. fastai needs their names as a fit begins."""
        if loss.last is None:
            self._try(loss)
        names = {**loss.latest("train", self._prefix()), **loss.latest("val", self._prefix())}
        if loss.monitor is not None:
            names["health_events"] = torch.zeros(())
        known = {metric.name for metric in self.learn.metrics}
        columns = [ValueMetric(partial(self._means.get, name), name) for name in names if name not in known]
        self.learn.metrics = [*self.learn.metrics, *columns]

    def _try(self, loss: Tracked) -> None:
        """Call model and loss with one batch, which counts nowhere and draws no random numbers of the training."""
        dls, model = self.learn.dls, self.learn.model
        loader = next(dl for dl in reversed(list(dls)) if len(dl))
        loader = vars(loader).get("dl", loader)  # within a DistributedDL
        with loss.context.paused(), torch.no_grad(), torch.random.fork_rng(devices=[]):
            batch = loader.one_batch() if hasattr(loader, "one_batch") else next(iter(loader))
            batch = list(map(plain, to_device(batch, next(model.parameters()).device)))
            inputs = getattr(dls, "n_inp", max(len(batch) - 1, 1))
            if len(batch) > inputs:
                loss(model.eval()(*batch[:inputs]), *batch[inputs:])


def _with_loss(model: nn.Module, given: Callable[[nn.Module], Any], loss: Tracked) -> list[Any]:
    """Return the groups of a splitter and the parameters of the loss, in the last group: `freeze` leaves it trained."""
    groups = list(given(model))
    if not groups or isinstance(groups[-1], Tensor):
        return [*groups, *parameters_of(loss)]
    return [*groups[:-1], [*groups[-1], *parameters_of(loss)]]
