"""Checks that all timed losses are equal: ours and every peer are compared with plain torch in float64."""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections.abc import Sequence
from functools import partial

import torch
from peers import Peer
from rows import Row
from work import make_work

from lossreg_segmentation.statistics import implementation

# Relative. Ours computes bfloat16 logits in float32, a peer may round every step.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-3}
ZERO = 1e-6  # absolute tolerance


def reference_values(rows: Sequence[Row], device: torch.device) -> dict[str, float]:
    """Compute each row's loss in float64.

    It runs in a process that has ended when the timing begins, because float64 tensors in the allocator would change
    the figures.
    """
    with multiprocessing.get_context("spawn").Pool(1) as process:
        found = process.map(partial(reference_value, device=device), rows)
    return {row.name: value for row, value in zip(rows, found, strict=True)}


def reference_value(row: Row, device: torch.device) -> float:
    """Compute ours of a row by plain torch in float64."""
    with implementation("reference"), torch.no_grad():
        return float(row.ours()(*make_work(row, device).in_float64()))


def checked(peer: Peer, value: float, expected: float, row: Row) -> Peer:
    """Return the peer, without its loss if its value is wrong and not declared as different. If ours is wrong, exit."""
    if peer.differs or math.isclose(value, expected, rel_tol=TOLERANCE[row.dtype], abs_tol=ZERO):
        return peer
    if peer.ours:
        sys.exit(f"{row.name}: ours is {value:.7g} and {expected:.7g} in float64; no time of a wrong value is taken")
    return peer._replace(loss=None, problem=f"not timed: its value is {value:.5f}, not {expected:.5f}")
