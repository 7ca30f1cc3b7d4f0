"""The context of a batch: facts for records and schedules that trainers do not pass to a loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossreg.errors import InputError
from lossreg.messages import did_you_mean

BatchKeys = Mapping[str, str | int]

# Facts of the examples that records have as columns.
RECORDED = ("sample_ids", "dataset", "path", "caption", "condition", "unconditional", "control")
_OF_BATCH = (*RECORDED, "columns", "size")
_KEYS = {"sample_ids": "sample_ids", "dataset": "dataset", "path": "path", "caption": "caption"}


@dataclass
class Context:
    """The context of the next calls of a `Tracked` loss. A trainer's callback sets it; in a plain loop, you do.

        tracked.context.begin(step=step, epoch=epoch, sample_ids=batch["name"])
        tracked(model(batch["image"]), batch["mask"]).backward()

    Args:
        step, epoch: of the batch. A loss with a schedule, such as `scheduled`, is given the step.
        split: "train", "val" or another name; None for "train" with gradients and "val" without.
        sample_ids, dataset, path, caption, condition, unconditional, control, columns: of the examples, as for
            `RecordWriter.add`. A timestep, drawn after a trainer's callback has begun the batch, is set at once, as in
            `tracked.context.condition = timesteps`.
        size: number of genuine examples, which come first in the batch; the others are a sampler's padding and count
            nowhere. None for all.
        counts: False for calls that count nowhere, such as a trainer's sanity check.
    """

    step: int | None = None
    epoch: int | None = None
    split: str | None = None
    sample_ids: Sequence[str | int] | None = None
    dataset: str | Sequence[str | None] | None = None
    path: str | Path | Sequence[str | Path | None] | None = None
    caption: str | Sequence[str | None] | None = None
    condition: float | Sequence[float | None] | Tensor | None = None
    unconditional: bool | Sequence[bool | None] | Tensor | None = None
    control: bool | Sequence[bool | None] | None = None
    columns: Mapping[str, Any] | None = None
    size: int | None = None
    counts: bool = True

    step_tensor: ClassVar[Any] = None  # of an object: its step as a tensor, on the CPU

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "step":
            # A graph has a number as a constant: with the number, each step would be compiled.
            super().__setattr__("step_tensor", torch.tensor(value, device="cpu") if isinstance(value, int) else value)

    def begin(self, **facts: Any) -> None:
        """Begin a batch: forget the examples of the last one, and set the given fields. The others stay."""
        if unknown := set(facts) - set(self.__dataclass_fields__):
            name = min(unknown)
            fields = self.__dataclass_fields__
            raise InputError(f"a batch has no {name!r}; {did_you_mean(name, fields, otherwise=_allowed(fields))}")
        for name in _OF_BATCH:
            setattr(self, name, facts.pop(name, None))
        for name, value in facts.items():
            setattr(self, name, value)

    def genuine(self, batch: int) -> int:
        """Return the number of genuine examples of a batch of this size."""
        if self.size is None:
            return batch
        try:
            size = index(self.size)
        except TypeError:
            size = -1
        if size < 0:
            raise InputError(f"size must be the number of genuine examples, an integer >= 0, got {self.size!r:.80}")
        return min(size, batch)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count no call inside the block."""
        counted, self.counts = self.counts, False
        try:
            yield
        finally:
            self.counts = counted


def facts_of(batch: Any, keys: BatchKeys | None = None) -> dict[str, Any]:
    """Return the facts that a loader's batch holds, for `Context.begin`.

    Example:
        `facts_of(batch, {"sample_ids": "name"})` for a dict, `facts_of(batch, {"sample_ids": 2})` for a tuple.

    Args:
        batch: a mapping or a sequence.
        keys: where the batch has sample_ids, dataset, path and caption. None for the keys of these names in a mapping,
            as far as it has them.
    Raises:
        InputError: a fact that does not exist, or a key that the batch does not have.
    """
    if keys is None:
        return {name: batch[key] for name, key in _KEYS.items() if key in batch} if isinstance(batch, Mapping) else {}
    facts = {}
    for name, key in keys.items():
        if name not in _KEYS:
            raise InputError(f"batch_keys has {name!r}; {did_you_mean(name, _KEYS, otherwise=_allowed(_KEYS))}")
        try:
            facts[name] = batch[key]
        except (KeyError, IndexError, TypeError):
            raise InputError(f"batch_keys wants {name} at {key!r} of the batch, which has {_shown(batch)}") from None
    return facts


def _allowed(names: Iterable[str]) -> str:
    return f"allowed are {', '.join(names)}"


def _shown(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"the keys {', '.join(map(str, batch))}"
    return f"{len(batch)} items" if isinstance(batch, Sequence) else f"the type {type(batch).__name__}"
