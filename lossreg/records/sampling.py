"""Which samples are followed: a stable choice by their names."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def followed(names: Iterable[str], fraction: float, seed: int = 0) -> list[bool]:
    """For each sample whether it is among the share that is followed.

    It depends on the name and the seed alone, so that it is the same in every process, epoch and run; and what a
    smaller fraction follows, a larger one does too.

    Args:
        names: of the samples.
        fraction: the share, in (0, 1].
        seed: another seed chooses others.
    """
    limit = int(fraction * 2**64)
    seeded = blake2b(f"{seed}:".encode(), digest_size=8)
    return [_hash(seeded.copy(), name) < limit for name in names]


def _hash(seeded: blake2b, name: str) -> int:
    seeded.update(name.encode(errors="backslashreplace"))
    return int.from_bytes(seeded.digest(), "big")
