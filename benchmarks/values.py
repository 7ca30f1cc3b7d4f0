"""Whether what is timed is the same loss: ours beside plain torch in float64, and everyone else beside that."""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections.abc import Sequence
from functools import partial

import torch
from peers import Peer, Row
from work import make_work

import lossreg
from lossreg_segmentation.statistics import implementation

# Relative. Ours computes bfloat16 logits in float32, a peer may round every step.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-3}
ZERO = 1e-6  # what is as good as 0


def reference_values(rows: Sequence[Row], device: torch.device) -> dict[str, float]:
    """Compute what each row's loss is in float64.

    In a process that is gone when the timing begins: what float64 takes of the allocator would change the figures.
    """
    with multiprocessing.get_context("spawn").Pool(1) as process:
        found = process.map(partial(reference_value, device=device), rows)
    return {row.name: value for row, value in zip(rows, found, strict=True)}


def reference_value(row: Row, device: torch.device) -> float:
    """Compute ours of a row by plain torch in float64."""
    with implementation("reference"), torch.no_grad():
        return float(lossreg.build(row.config)(*make_work(row, device).in_float64()))


def checked(peer: Peer, value: float, expected: float, row: Row) -> Peer:
    """Return the peer, without its loss if that has another value than declared. If ours has one, end the run."""
    if peer.differs or math.isclose(value, expected, rel_tol=TOLERANCE[row.dtype], abs_tol=ZERO):
        return peer
    if peer.ours:
        sys.exit(f"{row.name}: ours is {value:.7g} and {expected:.7g} in float64; no time of a wrong value is taken")
    return peer._replace(loss=None, problem=f"not timed: its value is {value:.5f}, not {expected:.5f}")
