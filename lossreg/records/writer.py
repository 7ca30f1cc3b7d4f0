"""The writer of records: it buffers rows in memory and on their device, and writes them as shards."""

from __future__ import annotations

import atexit
import os
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lossreg.errors import InputError, RecordsError
from lossreg.messages import warn
from lossreg.records.batch_maker import BatchMaker
from lossreg.records.buffer import Batch, single, to_chunk
from lossreg.records.column_values import shown
from lossreg.records.config import RecordConfig
from lossreg.records.run_name import DefaultRun, rank_of_process
from lossreg.records.shards import latest_session, new_session, shard_name, write_shard

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
        run: name of the job. None for a new one, a time and a random part, which all ranks of torch.distributed share.
            To go on with a run from a checkpoint, give the same name again: steps that are done again replace theirs.
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
        run: str | None = None,
        rank: int | None = None,
        config: RecordConfig | None = None,
    ) -> None:
        if not isinstance(run, str | None):
            raise InputError(f"run must be text, the name of the job, got {shown(run)}")
        self._rank = rank
        if rank is not None and (type(rank) is not int or not 0 <= rank < 2**31):
            raise InputError(f"rank must be an integer >= 0, got {shown(rank)}")
        self.config = config or RecordConfig()
        self.directory = Path(directory)
        self._run: str | DefaultRun = DefaultRun(self._directory) if run is None else run
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._session = ""  # of the time of the first shard, whose rank and run are known then
        self._number = 0
        self._calls = 0
        self._buffer: list[Batch] = []
        self._rows = 0
        self._since = 0.0
        self._maker = BatchMaker(self.config)
        self._lost = self._told = 0
        _open.add(self)

    @property
    def run(self) -> str:
        """Return the name of the job: the given one, or one that no other job has, the same on all ranks."""
        return self._run if isinstance(self._run, str) else self._run.name

    @property
    def rank(self) -> int:
        """Return the number of this process. A writer may be made before torch.distributed is initialised."""
        return rank_of_process() if self._rank is None else self._rank

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

    @property
    def lost(self) -> int:
        """Return the number of rows that could not be written, with `on_error="warn"`."""
        return self._lost if self._process == os.getpid() else 0

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
        of_batch = {"step": single("step", step), "epoch": single("epoch", epoch)}
        number, self._calls = self._calls if step is None else of_batch["step"], self._calls + 1
        if number % self.config.every:
            return
        per_row: dict[str, Any] = {"split": split, "dataset": dataset, "path": path, "caption": caption}
        per_row |= {"weight": weight, "condition": condition, "draw": draw}
        per_row |= {"unconditional": unconditional, "control": control}
        batch = self._maker.batch(losses, of_batch, sample_ids, per_row, columns)
        if not batch.rows:
            return
        if not self._buffer:
            self._since = time.monotonic()
        self._buffer.append(batch)
        self._rows += batch.rows
        if self._rows >= self.config.flush_rows or time.monotonic() - self._since >= self.config.flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Write the buffered rows as one shard.

        Raises:
            RecordsError: the disk is full, or the directory is missing or read-only. The rows stay buffered, and the
                next flush writes them; `directory` may be set to another place before. With `on_error="warn"` it warns
                instead, and these rows are `lost`.
        """
        if not self.waiting:
            return
        run, rank = single("run", self.run), self.rank
        self._session = self._session or new_session(latest_session(self._directory, run, rank))
        chunk = to_chunk(self._buffer)
        chunk["run"] = np.full(self._rows, run, dtype=object)
        chunk["rank"] = np.full(self._rows, rank)
        try:
            # If it is interrupted after this line, the next flush writes the same file again, with these rows.
            write_shard(self._directory, shard_name(run, rank, self._session, self._number), chunk)
        except RecordsError as error:
            if self.config.on_error == "raise":
                raise
            if not self._lost:
                warn(f"{error}; {self._rows} rows are lost, and the training goes on")
            self._lost += self._rows
        else:
            self._number += 1
        self._buffer = []
        self._rows = 0

    def close(self) -> None:
        """Write the buffered rows, and say how many were lost. The writer can be used again."""
        self.flush()
        if lost := self.lost - self._told:
            self._told += lost
            warn(f"{self._directory}: {lost} rows could not be written, and are missing from the records")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments: a copy is a writer of its own."""
        return {"_run": self.run, "_rank": self._rank, "config": self.config, "_directory": self._directory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __del__(self) -> None:
        if vars(self).get("_buffer") and self.waiting:
            self.flush()
            message = f"{self._directory}: a RecordWriter was not closed; use `with` or close()"
            warn(message, ResourceWarning, source=self)


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
