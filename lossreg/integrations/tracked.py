"""The loss that every integration shares: it trains, and keeps what trainers, logs, records and monitors ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lossreg.config.factory import build
from lossreg.config.model import ConfigLike
from lossreg.errors import InputError, LossregError
from lossreg.health.rank_consensus import rank, world_size
from lossreg.integrations.adapt import Adapt, adapter_of, plain
from lossreg.integrations.advice import advice
from lossreg.integrations.context import Context
from lossreg.integrations.meter import TOTAL, Meter, component_key
from lossreg.integrations.observers import Monitoring, Recording
from lossreg.loss import Loss, LossOutput, evaluate
from lossreg.loss.calls import signature_of
from lossreg.loss.output import not_kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from lossreg.health import HealthEvent, LossMonitor, Rule
    from lossreg.records import RecordWriter


class Tracked(nn.Module):
    """A loss for any trainer. A call is the training scalar; its parts, means, health and records are kept.

        loss = Tracked({"name": "dice"}, monitor="stop", records="runs/7/records")
        loss(logits, masks).backward()
        loss.read("train")                        # {"train/total_loss": 0.42, "train/loss_dice": 0.42}

    It computes the loss once. It has the parameters and buffers of the loss under their own names, so that a
    `state_dict` is the same with and without it. Copies, pickles, torch.compile, DistributedDataParallel and
    fully_shard keep it whole: call the wrapper, and read this object. Calls with gradients count as "train", calls
    without as "val".

    Args:
        loss: a config, the name of a loss, or a module.
        adapt: a change of the inputs: an `Adapt`, a mapping of its fields, or a function of the inputs that returns
            those of the loss.
        monitor: a `LossMonitor`; an action, "warn", "stop" or "raise", of the default rules; rules or their names, such
            as ["Collapse", "NonFinite"]; or a mapping of a monitor's arguments. It sees the calls of "train".
        records: a `RecordWriter`, the directory of the records, or a mapping of a writer's arguments, such as
            {"directory": "runs/7/records", "run": "7"}: the loss of each example, by `context`. A training that is
            resumed needs the same `run`, so that batches which are done again replace their rows.
    Attributes:
        loss: the module.
        last: the output of the last call, detached; None before the first. Of a call without gradients it has values
            per class.
        context: the step, epoch and examples of the next calls, which trainers do not pass to a loss.
    Raises:
        InputError: an argument of another kind.
        InvalidConfigError: as `build`.
    """

    loss: nn.Module
    adapt: Callable[..., Any] | None

    def __init__(
        self,
        loss: ConfigLike | nn.Module,
        *,
        adapt: Adapt | Mapping[str, Any] | Callable[..., Any] | None = None,
        monitor: LossMonitor | str | Sequence[str | Rule] | Mapping[str, Any] | None = None,
        records: RecordWriter | str | Path | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(loss, Tracked):
            raise InputError("the loss is Tracked already: pass it on as it is, or track its `loss`")
        module = loss if isinstance(loss, nn.Module) else build(loss)
        # Neither is a child: this module has the parameters of the loss itself, so that no name gets a prefix.
        vars(self)["loss"] = module
        for held in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            vars(self)[held] = vars(module)[held]
        vars(self)["adapt"] = adapter_of(adapt)
        self.context = Context()
        self.last: LossOutput | None = None
        self._meters: dict[str, Meter] = {}
        self._takes_step = "step" in _options(module)
        self._is_mean = isinstance(module, Loss) and module.reduction != "sum"
        self._monitoring = Monitoring(monitor, module)
        self._recording = None if records is None else Recording(records)
        # On CPUs Accelerate wraps what it has not prepared yet, and DDP refuses a module that has nothing to exchange.
        self._is_accelerate_prepared = not [*module.parameters(), *module.buffers()]

    if TYPE_CHECKING:

        def __call__(self, *inputs: Any, **options: Any) -> Tensor: ...

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("loss", "adapt"):  # torch would put a module beside the parts of the loss
            raise InputError(f"{name} of a Tracked loss stays as it is: put another Tracked(...) in its place")
        super().__setattr__(name, value)

    @property
    def monitor(self) -> LossMonitor | None:
        """Return the monitor, or None."""
        return self._monitoring.monitor

    @property
    def records(self) -> RecordWriter | None:
        """Return the writer of the records, or None."""
        return None if self._recording is None else self._recording.writer

    @property
    def should_stop(self) -> bool:
        """Return True once the monitor stops the training."""
        return self.monitor is not None and self.monitor.should_stop

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """Compute the training scalar, 0-dim. It is a tensor of its own: trainers scale it in place."""
        return self.evaluate(*inputs, **options).total.clone()

    def evaluate(self, *inputs: Any, **options: Any) -> LossOutput:
        """Compute the output of the loss, with the graph of its total, and count it as a call."""
        if self._takes_step and "step" not in options and self.context.step_tensor is not None:
            options["step"] = self.context.step_tensor if torch.compiler.is_compiling() else self.context.step
        given = tuple(map(plain, inputs)) if self.adapt is None else self.adapt(*inputs)
        if not isinstance(given, tuple | list):
            raise InputError(f"adapt must return the inputs of the loss, such as (input, target), got {type(given)}")
        output = self._evaluated(given, options)
        self._observe(output, (*given, *options.values()))
        return output

    def _evaluated(self, inputs: Sequence[Any], options: dict[str, Any]) -> LossOutput:
        """Evaluate the loss. Its refusal of inputs gets the adapter that they need."""
        if torch.compiler.is_compiling():
            return evaluate(self.loss, *inputs, **options)
        try:
            return evaluate(self.loss, *inputs, **options)
        except torch.OutOfMemoryError:
            raise
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:  # as other libraries refuse inputs
            if not (text := advice(inputs, self.adapt)):
                raise
            kind = type(error) if isinstance(error, LossregError) else InputError
            raise kind(f"{error}; {text}", **vars(error)) from error

    def _observe(self, output: LossOutput, inputs: tuple[Any, ...]) -> None:
        """Keep, meter, watch and record the output of a call."""
        parts = output.per_example_components
        # Values per class come from the inputs, which must not stay in memory in training.
        by_class = not_kept if torch.is_grad_enabled() or torch.compiler.is_compiling() else output.by_class
        self.last = LossOutput(output.total.detach(), output.components, output.per_example, parts, by_class)
        if not self.context.counts:
            return
        batch = _size(output, inputs)
        genuine = self.context.genuine(batch)
        split = self.context.split or ("train" if torch.is_grad_enabled() else "val")
        self._meter(split).add(self.last, genuine, splits=self._is_mean, padded=genuine < batch)
        if split == "train" and self.monitor is not None:
            self._monitoring.add(self.last, inputs, genuine, self.context)
        if self._recording is not None and genuine:
            self._recording.add(self.last, split, genuine, self.context)

    def read(self, split: str = "train", prefix: str | None = None, *, reduce: bool = True) -> dict[str, float]:
        """Return the means of total and components since the last read, weighted by examples, and begin again.

        Example:
            `{"train/total_loss": 0.42, "train/loss_dice": 0.42}`

        Args:
            split: "train", "val" or another of the context.
            prefix: of the keys; None for the split and a slash.
            reduce: over all ranks, which must all call it; False for this rank alone.
        """
        return self._meter(split).read(f"{split}/" if prefix is None else prefix, reduce=reduce)

    def latest(self, split: str = "train", prefix: str | None = None) -> dict[str, Tensor]:
        """Return total and components of the last call, under the keys of `read`, as tensors on their device."""
        if self.last is None:
            return {}
        prefix = f"{split}/" if prefix is None else prefix
        parts = {f"{prefix}{component_key(name)}": value for name, value in self.last.components.items()}
        return {f"{prefix}{TOTAL}": self.last.total, **parts}

    def reset(self) -> None:
        """Forget the means so far, as after calls that count nowhere."""
        self._meters.clear()

    def events(self) -> list[HealthEvent]:
        """Return the events of the monitor since the last call of this method."""
        return self._monitoring.taken()

    def flush(self) -> None:
        """Write the buffered records."""
        if self.records is not None:
            self.records.flush()

    def close(self) -> None:
        """Write the buffered records, and evaluate the monitor's last updates. Every rank must call it."""
        self.flush()
        self._monitoring.close()

    def write_report(self, directory: str | Path, job: str, step: int) -> Path:
        """Write the mean, least and greatest loss of every example so far, as `{job}_{step:09d}.json`.

        Every rank must call it: each writes its records, and rank 0 the report.

        Args:
            directory: of the report; created if it is missing.
            job: name of the job, which begins the file's name.
            step: of the training.
        Returns:
            the file.
        Raises:
            InputError: there are no records.
        """
        if self._recording is None:
            raise InputError("a report needs the loss of each example: give records=, such as 'runs/7/records'")
        self.flush()
        if world_size() > 1:
            torch.distributed.barrier()
        path = Path(directory) / f"{job}_{step:09d}.json"
        if rank() == 0:
            self._recording.export(path)
        return path

    def train(self, mode: bool = True) -> Tracked:
        super().train(mode)
        self.loss.train(mode)
        return self

    def extra_repr(self) -> str:
        return type(self.loss).__name__

    def _meter(self, split: str) -> Meter:
        if split not in self._meters:
            self._meters[split] = Meter()
        return self._meters[split]


def _options(module: nn.Module) -> frozenset[str]:
    return module.option_names() if isinstance(module, Loss) else signature_of(type(module).forward).options


def _size(output: LossOutput, inputs: Sequence[Any]) -> int:
    """Return the number of examples of a batch."""
    if output.per_example is not None:
        return len(output.per_example)
    return next((len(value) for value in inputs if isinstance(value, Tensor) and value.ndim), 1)
