"""Losses of a batch that lies on several ranks, as one process would compute them of the whole batch.

DDP averages the ranks' gradients. What is written here makes that average the gradient of the whole batch, whatever the
share of each rank, an empty one included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from lossreg import Term
from lossreg.errors import InputError
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.statistics.request import sums_dtype

Distributed = Literal["local", "global"]


def check_distributed(distributed: str, reduction: str) -> None:
    """Refuse what no average over ranks can give."""
    if distributed not in ("local", "global"):
        raise InputError(f"distributed is 'local' or 'global', got {distributed!r}")
    if distributed == "global" and reduction != "mean":
        raise InputError(f"distributed='global' is a mean over all ranks, got reduction={reduction!r}; use 'mean'")


def sums_over_ranks(statistics: MaskStatistics) -> MaskStatistics:
    """The sums over the batches of all ranks, by one collective."""
    if not has_ranks():
        return statistics
    given = {name: field for name, field in statistics._asdict().items() if field is not None}
    summed: Tensor = _SumOverRanks.apply(torch.stack(list(given.values())))  # type: ignore[no-untyped-call]
    return MaskStatistics(**dict(zip(given, summed.unbind(), strict=True)))


def means_over_ranks(terms: Mapping[str, Term], input: Tensor) -> dict[str, Term]:
    """Terms whose mean over examples is that of all ranks once the ranks are averaged, by one collective."""
    examples = torch.full((), float(input.shape[0]), dtype=sums_dtype(input), device=input.device)
    if has_ranks():
        dist.all_reduce(examples)
        examples /= dist.get_world_size()
    return {name: replace(term, examples=examples) for name, term in terms.items()}


def has_ranks() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized()


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # Every rank has the loss of the whole batch: DDP would take the mean of what has to be added.
        return grad * dist.get_world_size()
