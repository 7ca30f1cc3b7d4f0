"""The pairs of all ranks, for a contrast with each other."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lossreg_sam.alignment import Pairs
from lossreg_segmentation.distributed import exchanging


def first_number(*, shared: bool) -> int:
    """Return the first number of this rank's pairs, so that no two pairs have one number."""
    return dist.get_rank() << 32 if shared and exchanging() else 0


def pairs_over_ranks(own: Pairs) -> Pairs:
    """Gather the pairs of all ranks, each padded with invalid pairs to the size of the largest rank.

    The host reads that size, which synchronises the device.
    """
    if not exchanging(whole="a contrast"):
        return own
    largest = torch.tensor(len(own.valid), device=own.valid.device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    size = max(int(largest), 1)
    vectors: Tensor = _Gathered.apply(_filled(torch.cat([own.region, own.text], 1), size))  # type: ignore[no-untyped-call]
    labels = _gather(_filled(torch.stack([own.caption, own.valid.long()], 1), size))
    region, text = vectors.chunk(2, 1)
    return Pairs(region, text, labels[:, 0], labels[:, 1] > 0)


def _filled(x: Tensor, size: int) -> Tensor:
    return torch.cat([x, x.new_zeros(size - len(x), x.shape[1])])


def _gather(local: Tensor) -> Tensor:
    parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, local)
    return torch.cat(parts)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        return _gather(local)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # The losses of all ranks depend on these rows, so their gradients are added.
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
