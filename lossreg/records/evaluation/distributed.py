"""The ranks of one torchrun job, which work side by side and fail together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from lossreg.errors import InputError, LossregError

T = TypeVar("T")

# One rank may evaluate, or summarise, for long while the others wait. A process that dies ends the wait at once.
_PATIENCE = timedelta(days=30)
_SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class RankError(LossregError, RuntimeError):
    """Another rank of the job failed. `rank` is which, the lowest of them."""

    rank: int


@dataclass(frozen=True)
class Ranks:
    """This rank of a job, and how many there are."""

    rank: int = 0
    size: int = 1
    group: Any = None  # of torch.distributed; None for a single process

    def together(self, work: Callable[[], T]) -> T:
        """Run `work` here, and wait until every rank has run its own.

        Raises:
            RankError: another rank failed, and this one did not. What failed here is raised as it is.
        """
        try:
            result = work()
        except Exception:
            self._first_failed(True)  # or the others would wait for this rank
            raise
        failed = self._first_failed(False)
        if failed < self.size:
            raise RankError(
                f"rank {failed} of {self.size} failed, so that rank {self.rank} stops as well; the output of rank"
                f" {failed} says why",
                rank=failed,
            )
        return result

    def sum(self, number: int) -> int:
        """The sum of the ranks' numbers."""
        if self.group is None:
            return number
        import torch
        from torch import distributed

        total = torch.tensor(number)
        distributed.all_reduce(total, group=self.group)
        return int(total)

    def _first_failed(self, failed: bool) -> int:
        """The lowest rank that failed; `size` where none did."""
        first = self.rank if failed else self.size
        if self.group is None:
            return first
        import torch
        from torch import distributed

        lowest = torch.tensor(first)
        distributed.all_reduce(lowest, distributed.ReduceOp.MIN, group=self.group)
        return int(lowest)


@contextmanager
def torchrun_ranks() -> Iterator[Ranks]:
    """The ranks of the process group; where there is none yet, one is made of what torchrun says, and ended after.

    What they agree on goes through gloo, whatever the group is for: no device is waited for.

    Raises:
        InputError: there is neither a process group nor torchrun.
    """
    from torch import distributed

    began = not distributed.is_initialized()
    if began:
        if missing := [name for name in _SET_BY_TORCHRUN if name not in os.environ]:
            raise InputError(
                "executor 'torchrun': torch.distributed is not initialised, and the environment has no"
                f" {', '.join(missing)}; start the script with torchrun, or use executor='local'"
            )
        distributed.init_process_group("gloo")
    group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), group)
    finally:
        distributed.destroy_process_group(None if began else group)  # None is all of them
