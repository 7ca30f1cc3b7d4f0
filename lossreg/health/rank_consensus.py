"""What ranks decide together: to stop, at the same reading, without one waiting for another for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

GO_ON, STOP, RAISE = 0, 1, 2


class Agreement:
    """The gravest decision of all ranks. Once it is to stop all of them know, and nothing more is asked.

    Args:
        group: the ranks that decide; None for all.
    """

    def __init__(self, group: ProcessGroup | None = None) -> None:
        self._group = group
        self._is_over = False

    def decide(self, own: int) -> int:
        """The largest decision of the ranks: GO_ON, STOP or RAISE. Waits for the others to ask as well."""
        return self._exchange(own, training=True)[0]

    def leave(self, own: int) -> int:
        """The last decision of this rank, which then answers the others until they have left or stopped."""
        decided, others_train = self._exchange(own, training=False)
        while others_train and not self._is_over:
            decided, others_train = self._exchange(GO_ON, training=False)
        return decided

    def _exchange(self, own: int, *, training: bool) -> tuple[int, bool]:
        """The largest decision, and whether any rank still trains."""
        import torch
        from torch import distributed

        if self._is_over or world(self._group) < 2:
            return own, False
        device = "cuda" if "nccl" in str(distributed.get_backend(self._group)) else "cpu"
        numbers = torch.tensor([own, int(training)], device=device)
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX, self._group)
        decided, others_train = numbers.tolist()
        self._is_over = decided != GO_ON
        return decided, bool(others_train)


def world(group: ProcessGroup | None = None) -> int:
    """How many ranks there are; 1 where torch.distributed is not initialised."""
    from torch import distributed

    there = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size(group) if there else 1


def rank() -> int:
    """Of this process; 0 where torch.distributed is not initialised."""
    from torch import distributed

    return distributed.get_rank() if world() > 1 else 0
