"""Sampling: a stable choice by name and seed, of the samples to record and of the batches to evaluate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Any

_COPIED = (  # the settings of a DataLoader that loads fewer batches
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
)


def chosen(names: Iterable[str], fraction: float, seed: int = 0) -> list[bool]:
    """Choose a share of some names: True for each name that is chosen.

    The choice depends on the name and the seed alone, so that it is the same in every process, epoch and run. The
    choice of a smaller fraction is part of that of a larger one.

    Args:
        names: the samples.
        fraction: the share, in (0, 1].
        seed: another seed makes another choice.
    """
    limit = int(fraction * 2**64)
    seeded = blake2b(f"{seed}:".encode(), digest_size=8)
    return [_hash(seeded.copy(), name) < limit for name in names]


def _hash(seeded: blake2b, name: str) -> int:
    seeded.update(name.encode(errors="backslashreplace"))
    return int.from_bytes(seeded.digest(), "big")


def chosen_batches(dataloader: Iterable[Any], fraction: float, seed: int) -> Iterator[tuple[int, Any]]:
    """Yield the batches to evaluate, each with its number.

    Args:
        dataloader: all batches. A plain DataLoader of a map-style dataset does not load the other batches.
        fraction: the share of batches, in (0, 1].
        seed: another seed makes another choice.
    """
    if fraction == 1:
        return enumerate(dataloader)
    is_chosen = _IsChosen(fraction, seed)
    if (loader := _smaller_loader(is_chosen, dataloader)) is not None:
        return ((number, batch) for batch, number in zip(loader, filter(is_chosen, count()), strict=False))
    return ((number, batch) for number, batch in enumerate(dataloader) if is_chosen(number))


@dataclass(frozen=True)
class _IsChosen:
    """The choice of batches by number; the same in every process and version."""

    fraction: float
    seed: int

    def __call__(self, number: int) -> bool:
        return chosen((str(number),), self.fraction, self.seed)[0]


@dataclass(frozen=True)
class _ChosenIndices:
    """A batch sampler without the batches that are not chosen."""

    sampler: Iterable[Any]
    is_chosen: _IsChosen

    def __iter__(self) -> Iterator[Any]:
        return (indices for number, indices in enumerate(self.sampler) if self.is_chosen(number))


def _smaller_loader(is_chosen: _IsChosen, loader: Any) -> Iterable[Any] | None:
    """Make a DataLoader of the chosen batches; None for a loader that must load all."""
    from torch.utils.data import DataLoader

    if type(loader) is not DataLoader or loader.batch_sampler is None:
        return None
    options: dict[str, Any] = {name: getattr(loader, name) for name in _COPIED}
    return DataLoader(loader.dataset, batch_sampler=_ChosenIndices(loader.batch_sampler, is_chosen), **options)
