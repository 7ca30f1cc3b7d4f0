"""The writer of records: it buffers rows in memory and on their device, and writes them as shards."""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lossreg.errors import InputError, RecordsError
from lossreg.messages import warn
from lossreg.records.buffer import (
    ON_DEVICE,
    Batch,
    beside,
    broadcast,
    copied,
    each,
    losses_of,
    repeated,
    single,
    to_chunk,
)
from lossreg.records.column_values import shown
from lossreg.records.config import RecordConfig
from lossreg.records.own_columns import OwnTypes, check_own_name
from lossreg.records.record_schema import COLUMNS
from lossreg.records.row_validation import check_names
from lossreg.records.sampling import chosen
from lossreg.records.shards import new_session, shard_name, write_shard

if TYPE_CHECKING:
    from torch import Tensor

    from lossreg.loss import LossOutput


class RecordWriter:
    """A writer of the loss of each example at each step, to a directory of Parquet shards.

        with RecordWriter("runs/7/records", run="7") as writer:
            for step, (image, mask, names) in enumerate(loader):
                output = lossreg.evaluate(loss, model(image), mask)
                writer.add(output, sample_ids=names, dataset="coco", step=step)

    Losses stay on their device until they are written, in one copy; `add` does not wait for the device. A killed
    process loses its buffered rows, and never leaves a broken shard. A writer is for one thread. In another process,
    after a fork or as a copy, it is a writer of its own with an empty buffer, which that process must flush or close.

    Args:
        directory: the directory of the shards; created if it is missing.
        run: name of the job.
        rank: number of this process in the job, >= 0; None for that of torch.distributed or of RANK, otherwise 0, when
            rows are written.
        config: which rows are recorded, and when they are written.
    Raises:
        RecordsError: the directory cannot be created.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        run: str = "run",
        rank: int | None = None,
        config: RecordConfig | None = None,
    ) -> None:
        if not isinstance(run, str):
            raise InputError(f"run must be text, the name of the job, got {shown(run)}")
        self.run = run
        self._rank = rank
        if rank is not None and (type(rank) is not int or not 0 <= rank < 2**31):
            raise InputError(f"rank must be an integer >= 0, got {shown(rank)}")
        self.config = config or RecordConfig()
        self.directory = Path(directory)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._session = new_session()
        self._number = 0
        self._calls = 0
        self._buffer: list[Batch] = []
        self._rows = 0
        self._since = 0.0
        self._types = OwnTypes()
        self._names: dict[str, None] = {}
        _open.add(self)

    @property
    def rank(self) -> int:
        """Return the number of this process. A writer may be made before torch.distributed is initialised."""
        return _rank() if self._rank is None else self._rank

    @property
    def directory(self) -> Path:
        """Return the directory of the shards. It may be set, such as to a disk with more space; it is created then."""
        return self._directory

    @directory.setter
    def directory(self, path: str | Path) -> None:
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordsError(
                f"{path}: the directory of the records cannot be created: {error.strerror or error}", directory=path
            ) from error
        self._directory = path.absolute()  # shards may be written after the process has changed its directory

    @property
    def waiting(self) -> int:
        """Return the number of rows that are not written yet."""
        return self._rows if self._process == os.getpid() else 0

    def add(
        self,
        losses: LossOutput | Tensor | Sequence[float] | np.ndarray[Any, Any],
        *,
        sample_ids: Sequence[str | int] | None = None,
        dataset: str | Sequence[str | None] | None = None,
        split: str | Sequence[str | None] | None = None,
        step: int | None = None,
        epoch: int | None = None,
        path: str | Path | Sequence[str | Path | None] | None = None,
        caption: str | Sequence[str | None] | None = None,
        weight: float | Sequence[float] | None = None,
        condition: float | Sequence[float | None] | Tensor | np.ndarray[Any, Any] | None = None,
        draw: int | Sequence[int | None] | None = None,
        unconditional: bool | Sequence[bool | None] | Tensor | np.ndarray[Any, Any] | None = None,
        control: bool | Sequence[bool | None] | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """Buffer the losses of one batch. An error adds nothing, unless it is one of writing.

        Args:
            losses: the output of `evaluate`, whose components are recorded as well; or (B,) numbers.
            sample_ids: the name of each example, the same in every epoch.
            dataset, split, path, caption: one for all, or one per example.
            step, epoch: of the batch.
            weight: of a row in a mean, finite and > 0; one for all, or one per example.
            condition: what made this look easy or hard, such as the timestep, sigma or noise level of a diffusion
                model; one for all, or one per example. A tensor may be on the device of the losses.
            draw: the number of the repetition, where an example is evaluated several times in one step.
            unconditional: True where the caption was dropped. A tensor may be on the device of the losses.
            control: True for a planted example that is known to be bad.
            columns: columns of your own by their names, such as {"camera": names, "size": 512}: text, numbers or truth
                values; one for all, or one per example. Each keeps its type.
        Raises:
            InputError: the loss does not split over examples; or a value that a column cannot hold; or a column of your
                own whose name is that of a column or like it, or whose type has changed.
            ShapeError: not one value per loss.
            RecordsError: as `flush`. The batch is buffered.
        """
        if self._process != os.getpid():
            self._begin()
        metadata = {"step": single("step", step), "epoch": single("epoch", epoch)}
        number, self._calls = self._calls if step is None else metadata["step"], self._calls + 1
        if number % self.config.every:
            return
        values, names, size = losses_of(losses)
        self._check_names(names, columns)
        per_row: dict[str, Any] = {"split": split, "dataset": dataset, "path": path, "caption": caption}
        per_row |= {"weight": weight, "condition": condition, "draw": draw, "unconditional": unconditional}
        per_row |= {"control": control} | dict(columns or {})
        on_device = {name: beside(values[0], name, per_row[name], size) for name in ON_DEVICE}
        on_device = {name: value for name, value in on_device.items() if value is not None}
        metadata |= {name: broadcast(name, value, size) for name, value in per_row.items() if name not in on_device}
        metadata["sample_id"] = None if sample_ids is None else each("sample_id", sample_ids, size)
        mask = self._chosen(metadata, size)
        self._types.check({name: metadata[name] for name in columns or {}})
        self._names |= dict.fromkeys([*names, *(columns or {})])
        values, names = [*values, *on_device.values()], (*names, *on_device)
        rows = size if mask is None else int(mask.sum())
        if not rows:
            return
        if not self._buffer:
            self._since = time.monotonic()
        self._buffer.append(Batch(size, mask, metadata, names, copied(values)))
        self._rows += rows
        if self._rows >= self.config.flush_rows or time.monotonic() - self._since >= self.config.flush_seconds:
            self.flush()

    def _check_names(self, names: Sequence[str], columns: Mapping[str, Any] | None) -> None:
        """Check the names of components and of the user's columns, where there are new ones."""
        if columns is not None and not isinstance(columns, Mapping):
            raise InputError(f"columns must be a mapping of names to values, got {shown(columns)}")
        for name in columns or {}:
            if name in COLUMNS or name == "sample_ids":
                argument = "sample_ids" if name == "sample_id" else name
                raise InputError(f"columns: {name!r} is a column already; give it as add({argument}=...)", column=name)
            if name not in self._names:
                check_own_name(name, "columns")
        new = [name for name in (*names, *(columns or {})) if name not in self._names]
        if new:
            check_names(dict.fromkeys([*self._names, *new]), "columns" if columns else "the components of the loss")

    def flush(self) -> None:
        """Write the buffered rows as one shard.

        Raises:
            RecordsError: the disk is full, or the directory is missing or read-only. The rows stay buffered, and the
                next flush writes them; `directory` may be set to another place before.
        """
        if not self.waiting:
            return
        chunk = to_chunk(self._buffer)
        chunk["run"] = np.full(self._rows, single("run", self.run), dtype=object)
        rank = self.rank
        chunk["rank"] = np.full(self._rows, rank)
        # If it is interrupted after this line, the next flush writes the same file again, with these rows.
        write_shard(self._directory, shard_name(self.run, rank, self._session, self._number), chunk)
        self._number += 1
        self._buffer = []
        self._rows = 0

    def close(self) -> None:
        """Write the buffered rows. The writer can be used again."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments: a copy is a writer of its own."""
        return {"run": self.run, "_rank": self._rank, "config": self.config, "_directory": self._directory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __del__(self) -> None:
        if vars(self).get("_buffer") and self.waiting:
            self.flush()
            message = f"{self._directory}: a RecordWriter was not closed; use `with` or close()"
            warn(message, ResourceWarning, source=self)

    def _chosen(self, metadata: dict[str, Any], size: int) -> np.ndarray[Any, Any] | None:
        """Choose rows by the names of their samples, as a mask; None for all."""
        if self.config.fraction == 1:
            return None
        by_id, by_path = (repeated(metadata[name], size) for name in ("sample_id", "path"))
        names = [path if name is None else name for name, path in zip(by_id, by_path, strict=True)]
        if None in names:
            raise InputError(
                f"example {names.index(None)} has no name, and fraction={self.config.fraction} chooses samples by their"
                " names; give sample_ids= or path="
            )
        return np.array(chosen(names, self.config.fraction, self.config.seed), dtype=bool)


_open: weakref.WeakSet[RecordWriter] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Write the buffers of open writers at the end of the process."""
    for writer in list(_open):
        try:
            writer.close()
        except RecordsError as error:
            warn(f"{writer.waiting} rows are lost at the end of the process: {error}")
            writer._buffer = []


def _rank() -> int:
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return int(os.environ.get("RANK", "0"))
