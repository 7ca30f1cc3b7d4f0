"""The writer of records: rows wait in memory and on their device, and leave in shards."""

from __future__ import annotations

import atexit
import os
import sys
import time
import warnings
import weakref
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lossreg.errors import InputError, RecordsError
from lossreg.records.buffer import Batch, each, gathered, kept, losses_of, one, spread
from lossreg.records.config import RecordConfig
from lossreg.records.row_validation import check_names, shown
from lossreg.records.sampling import followed
from lossreg.records.shards import new_session, shard_name, write_shard

if TYPE_CHECKING:
    from torch import Tensor

    from lossreg.loss import LossOutput

_TEXT = ("split", "dataset", "path", "caption")


class RecordWriter:
    """Write what each example lost, step by step, to a directory of Parquet shards.

        with RecordWriter("runs/7/records", run="7") as writer:
            for step, (image, mask, names) in enumerate(loader):
                output = lossreg.evaluate(loss, model(image), mask)
                writer.add(output, sample_ids=names, dataset="coco", step=step)

    Losses stay on their device until they are written, in one copy; `add` waits for nothing. A killed process loses the
    rows that wait, and never leaves a shard that does not read. It is for one thread. In another process, after a fork
    or as a copy, it is a writer of its own with nothing waiting; what that one adds it must flush or close.

    Args:
        directory: where the shards go; made if it is not there.
        run: name of the job.
        rank: which process of the job this is, >= 0; None for what torch.distributed or RANK say, and otherwise 0.
        config: what is kept, and when it is written.
    Raises:
        RecordsError: the directory cannot be made.
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
            raise InputError(f"run is text, the name of the job, got {shown(run)}")
        self.run = run
        self.rank = _rank() if rank is None else rank
        if type(self.rank) is not int or not 0 <= self.rank < 2**31:
            raise InputError(f"rank is an integer >= 0, got {shown(rank)}")
        self.config = config or RecordConfig()
        self.directory = Path(directory)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._session = new_session()
        self._number = 0
        self._calls = 0
        self._waiting: list[Batch] = []
        self._rows = 0
        self._since = 0.0
        self._checked: set[tuple[str, ...]] = set()
        self._names: dict[str, None] = {}
        _open.add(self)

    @property
    def directory(self) -> Path:
        """Where the shards go. It may be changed, such as to a disk that is not full; it is made if it is not there."""
        return self._directory

    @directory.setter
    def directory(self, path: str | Path) -> None:
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordsError(
                f"{path}: the directory of the records cannot be made: {error.strerror or error}", directory=path
            ) from error
        self._directory = path

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
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
    ) -> None:
        """Take the losses of one batch. Nothing of a batch is taken where this raises, but from writing.

        Args:
            losses: what `evaluate` gives, whose components are recorded as well; or (B,) numbers.
            sample_ids: what each example is called, the same in every epoch.
            dataset, split, path, caption: one for all, or one per example.
            step, epoch: of the batch.
            weight: how much a row counts in a mean, finite and > 0; one for all, or one per example.
        Raises:
            InputError: the loss does not split over examples; or a value that a column cannot take.
            ShapeError: not as many as there are losses.
            RecordsError: as `flush`. The batch was taken before.
        """
        if self._process != os.getpid():
            self._begin()
        said = {"step": one("step", step), "epoch": one("epoch", epoch)}
        number, self._calls = self._calls if step is None else said["step"], self._calls + 1
        if number % self.config.every:
            return
        values, names, size = losses_of(losses)
        if names not in self._checked:
            check_names(dict.fromkeys([*self._names, *names]), "the components of the loss")
        for name, value in zip(_TEXT, (split, dataset, path, caption), strict=True):
            said[name] = one(name, value) if isinstance(value, str | PathLike | None) else each(name, value, size)
        said["sample_id"] = None if sample_ids is None else each("sample_id", sample_ids, size)
        said["weight"] = (
            one("weight", weight)
            if isinstance(weight, float | int | np.number | None) or getattr(weight, "ndim", 1) == 0
            else each("weight", weight, size)
        )
        chosen = self._followed(said, size)
        self._checked.add(names)
        self._names |= dict.fromkeys(names)
        rows = size if chosen is None else int(chosen.sum())
        if not rows:
            return
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(Batch(size, chosen, said, names, kept(values)))
        self._rows += rows
        if self._rows >= self.config.flush_rows or time.monotonic() - self._since >= self.config.flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what waits, as one shard. Nothing waits afterwards.

        Raises:
            RecordsError: the disk is full, or the directory lost or read-only. The rows are kept, and written by the
                next flush; `directory` may be set to another place before.
        """
        if not self.waiting:
            return
        chunk = gathered(self._waiting)
        chunk["run"] = np.full(self._rows, one("run", self.run), dtype=object)
        chunk["rank"] = np.full(self._rows, self.rank)
        # Interrupted after this line, the next flush writes the same file again, with these rows in it.
        write_shard(self._directory, shard_name(self.run, self.rank, self._session, self._number), chunk)
        self._number += 1
        self._waiting = []
        self._rows = 0

    def close(self) -> None:
        """Write what waits. The writer can be used again."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy is a writer of its own."""
        return {"run": self.run, "rank": self.rank, "config": self.config, "_directory": self._directory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __del__(self) -> None:
        if vars(self).get("_waiting") and self.waiting:
            self.flush()
            message = f"{self._directory}: a RecordWriter was not closed; use `with` or close()"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def _followed(self, said: dict[str, Any], size: int) -> np.ndarray[Any, Any] | None:
        """Which rows belong to samples that are followed; None for all."""
        if self.config.fraction == 1:
            return None
        by_id, by_path = (spread(said[name], size) for name in ("sample_id", "path"))
        names = [path if name is None else name for name, path in zip(by_id, by_path, strict=True)]
        if None in names:
            raise InputError(
                f"example {names.index(None)} has no name, and fraction={self.config.fraction} follows samples by their"
                " names; give sample_ids= or path="
            )
        return np.array(followed(names, self.config.fraction, self.config.seed), dtype=bool)


_open: weakref.WeakSet[RecordWriter] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """What was never closed is written at the end of the process."""
    for writer in list(_open):
        try:
            writer.close()
        except RecordsError as error:
            warnings.warn(f"{writer.waiting} rows are lost at the end of the process: {error}", stacklevel=1)
            writer._waiting = []


def _rank() -> int:
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return int(os.environ.get("RANK", "0"))
