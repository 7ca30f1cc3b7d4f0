"""Which batches of a dataset are computed, where not all are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from lossreg.records.sampling import followed

_SAME = (  # of a DataLoader that loads fewer batches
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
)


def drawn_batches(dataloader: Iterable[Any], fraction: float, seed: int) -> Iterator[tuple[int, Any]]:
    """The batches to compute, each with its number.

    Args:
        dataloader: gives all batches. Of a plain DataLoader of a map-style dataset the others are not even loaded.
        fraction: the share of them, in (0, 1].
        seed: draws other batches.
    """
    if fraction == 1:
        return enumerate(dataloader)
    drawn = _Drawn(fraction, seed)
    if (chosen := _loading_only(drawn, dataloader)) is not None:
        return ((number, batch) for batch, number in zip(chosen, filter(drawn, count()), strict=False))
    return ((number, batch) for number, batch in enumerate(dataloader) if drawn(number))


@dataclass(frozen=True)
class _Drawn:
    """Whether the batch of a number is computed; the same in every process and version."""

    fraction: float
    seed: int

    def __call__(self, number: int) -> bool:
        return followed((str(number),), self.fraction, self.seed)[0]


@dataclass(frozen=True)
class _Batches:
    """Those batches of indices that are drawn."""

    sampler: Iterable[Any]
    drawn: _Drawn

    def __iter__(self) -> Iterator[Any]:
        return (indices for number, indices in enumerate(self.sampler) if self.drawn(number))


def _loading_only(drawn: _Drawn, loader: Any) -> Iterable[Any] | None:
    """A DataLoader of the batches that are drawn; None for a loader that cannot leave the others out."""
    from torch.utils.data import DataLoader

    if type(loader) is not DataLoader or loader.batch_sampler is None:
        return None
    options: dict[str, Any] = {name: getattr(loader, name) for name in _SAME}
    return DataLoader(loader.dataset, batch_sampler=_Batches(loader.batch_sampler, drawn), **options)
