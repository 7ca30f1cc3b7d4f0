"""The ranks of one torchrun job, which fail together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from lossreg.errors import InputError, LossregError

T = TypeVar("T")

# The others may wait for one rank that evaluates or summarises. The death of a process ends the wait at once.
_TIMEOUT = timedelta(days=30)
_SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class RankError(LossregError, RuntimeError):
    """Failure of another rank of the job. `rank` is the lowest rank that failed."""

    rank: int


@dataclass(frozen=True)
class Ranks:
    """This rank of a job, and the number of ranks."""

    rank: int = 0
    size: int = 1
    group: Any = None  # of torch.distributed; None for a single process

    def together(self, work: Callable[[], T]) -> T:
        """Run `work`, and wait until every rank has run its own.

        Raises:
            RankError: another rank failed, and this one did not. An error of this rank is raised unchanged.
        """
        try:
            result = work()
        except Exception:
            self._first_failed(True)  # without it the others would wait for this rank
            raise
        failed = self._first_failed(False)
        if failed < self.size:
            raise RankError(
                f"rank {failed} of {self.size} failed, so that rank {self.rank} stops as well; see the output of"
                f" rank {failed}",
                rank=failed,
            )
        return result

    def sum(self, number: int) -> int:
        """Sum the ranks' numbers."""
        if self.group is None:
            return number
        import torch
        from torch import distributed

        total = torch.tensor(number)
        distributed.all_reduce(total, group=self.group)
        return int(total)

    def _first_failed(self, failed: bool) -> int:
        """Find the lowest rank that failed; `size` if none did."""
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
    """Yield the ranks of the process group. If there is none, create one from torchrun's variables, and destroy it.

    The ranks communicate by gloo, for any backend of the group: no device is waited for.

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
    group = distributed.new_group(backend="gloo", timeout=_TIMEOUT)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), group)
    finally:
        distributed.destroy_process_group(None if began else group)  # None destroys all groups
