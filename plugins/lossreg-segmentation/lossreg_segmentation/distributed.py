"""Losses of a batch that is spread over several ranks, equal to the loss of one process with the whole batch.

DDP averages the ranks' gradients. These functions make the average equal to the gradient of the whole batch, for any
number of examples per rank, 0 included. They exchange numbers only while gradients are on: in validation some ranks may
not call the loss, and an exchange would wait for them.
"""

from __future__ import annotations

import warnings
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
    """Check `distributed`, and that "global" comes with the mean, the one reduction that averaging ranks can give."""
    if distributed not in ("local", "global"):
        raise InputError(f"distributed is 'local' or 'global', got {distributed!r}")
    if distributed == "global" and reduction != "mean":
        raise InputError(f"distributed='global' is a mean over all ranks, got reduction={reduction!r}; use 'mean'")


def check_ranking(batch: bool, distributed: str) -> None:
    """Raise InputError for a loss that sorts the pixels of the whole batch of all ranks, which hold only their own."""
    if batch and distributed == "global":
        raise InputError(
            "batch=True sorts the pixels of a batch, and no sum over ranks sorts those of all; leave out batch=True"
            " for the mean over the examples of all ranks, or distributed='global' for a sort on each rank"
        )


def sums_over_ranks(statistics: MaskStatistics) -> MaskStatistics:
    """Add the sums of all ranks, in one collective."""
    if not exchanging(whole="batch=True"):
        return statistics
    given = {name: field for name, field in statistics._asdict().items() if field is not None}
    summed = added_over_ranks(torch.stack(list(given.values())))
    return MaskStatistics(**dict(zip(given, summed.unbind(), strict=True)))


def added_over_ranks(sums: Tensor) -> Tensor:
    """Add the numbers of all ranks, whose loss is that of the whole batch."""
    if not exchanging(whole="batch=True"):
        return sums
    total: Tensor = _SumOverRanks.apply(sums)  # type: ignore[no-untyped-call]
    return total


def means_over_ranks(terms: Mapping[str, Term], input: Tensor) -> dict[str, Term]:
    """Set the number of examples so that the average over ranks is the mean over all examples; one collective."""
    examples = torch.full((), float(input.shape[0]), dtype=sums_dtype(input), device=input.device)
    least = 1.0  # the divisor for no examples at all, so that the loss is 0
    if exchanging():
        dist.all_reduce(examples)
        examples /= dist.get_world_size()
        least /= dist.get_world_size()
    examples.clamp_min_(least)
    return {name: replace(term, examples=examples) for name, term in terms.items()}


def exchanging(*, whole: str = "") -> bool:
    """Return True if ranks exchange numbers: torch.distributed is initialised, and gradients are on.

    Args:
        whole: the option or loss whose value is no mean over examples, so that the values of ranks do not average to
            that of the whole batch: then a rank that computes alone is warned. Empty for a mean over examples.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return False
    if not torch.is_grad_enabled() and whole and dist.get_world_size() > 1:
        warnings.warn(
            f"distributed='global' with {whole}: gradients are off, so each rank computes the loss of its own batch,"
            " and the average of these is not the loss of the whole batch; for that, call the loss on every rank within"
            " torch.enable_grad()",
            UserWarning,
            stacklevel=2,  # so that Python shows it once
        )
    return torch.is_grad_enabled()


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # Every rank has the loss of the whole batch: its gradients must be added, and DDP averages them.
        return grad * dist.get_world_size()
