"""Consensus of ranks: all of them stop at the same update, and none blocks for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

GO_ON, STOP, RAISE = 0, 1, 2  # decisions, by severity


class RankConsensus:
    """All-reduce of the ranks' decisions. After a stop no further collective is issued.

    Args:
        group: the ranks that decide; None for all.
    """

    def __init__(self, group: ProcessGroup | None = None) -> None:
        self._group = group
        self._is_over = False

    def decide(self, own: int) -> int:
        """Return the highest decision of all ranks. Blocks until every rank calls it."""
        return self._exchange(own, training=True)[0]

    def leave(self, own: int) -> int:
        """Return the last decision, after answering the other ranks until they have left or stopped."""
        decided, others_train = self._exchange(own, training=False)
        while others_train and not self._is_over:
            decided, others_train = self._exchange(GO_ON, training=False)
        return decided

    def _exchange(self, own: int, *, training: bool) -> tuple[int, bool]:
        """Return the highest decision, and True if any rank still trains."""
        import torch
        from torch import distributed

        if self._is_over or world_size(self._group) < 2:
            return own, False
        device = "cuda" if "nccl" in str(distributed.get_backend(self._group)) else "cpu"
        numbers = torch.tensor([own, int(training)], device=device)
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX, self._group)
        decided, others_train = numbers.tolist()
        self._is_over = decided != GO_ON
        return decided, bool(others_train)


def world_size(group: ProcessGroup | None = None) -> int:
    """Return the number of ranks; 1 if torch.distributed is not initialised."""
    from torch import distributed

    is_initialized = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size(group) if is_initialized else 1


def rank() -> int:
    """Return the rank of this process; 0 if torch.distributed is not initialised."""
    from torch import distributed

    return distributed.get_rank() if world_size() > 1 else 0
