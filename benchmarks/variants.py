"""Other ways to run ours, each timed beside the usual one, and how much slower it may be."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from peers import LossFunction
from rows import Row
from torch import Tensor
from work import Work, partly_ignored, soft

import lossreg
from lossreg_segmentation.statistics import implementation

IGNORED = 255


class Variant(NamedTuple):
    """A loss and its tensors."""

    loss: LossFunction
    work: Work


class Kind(NamedTuple):
    """A way to make a variant of a row, and the most time that it may take, in multiples of the usual step."""

    make: Callable[[Row, Work], Variant]
    at_most: float


def evaluated(row: Row, work: Work) -> Variant:
    """Return all components, where a step usually computes the total alone."""
    loss: Any = lossreg.build(row.config)
    return Variant(lambda *tensors: loss.evaluate(*tensors).total, work)


def compiled(row: Row, work: Work) -> Variant:
    """Compile ours as a part of a compiled training step."""
    return Variant(torch.compile(row.ours(), fullgraph=True, dynamic=False), work)


def tiled(row: Row, work: Work) -> Variant:
    """Use the implementation for machines without Numba."""
    ours = row.ours()

    def loss(*tensors: Tensor) -> Tensor:
        with implementation("tiled"):
            return ours(*tensors)

    return Variant(loss, work)


def of_soft_targets(row: Row, work: Work) -> Variant:
    """Use probabilities in place of masks or classes."""
    return Variant(row.ours(), soft(work))


def ignoring(row: Row, work: Work) -> Variant:
    """Ignore a twentieth of the pixels."""
    return Variant(lossreg.build(with_parameter(row.config, "ignore_index", IGNORED)), partly_ignored(work, IGNORED))


def with_parameter(config: dict[str, Any], name: str, value: object) -> dict[str, Any]:
    """Return a config with a parameter set in its loss, or in each of its terms."""
    changed = deepcopy(config)
    for loss in changed.get("params", {}).get("terms", [changed]):
        loss.setdefault("params", {})[name] = value
    return changed


KINDS = {
    "evaluate": Kind(evaluated, 1.15),
    "compiled": Kind(compiled, 1.05),  # never slower; the twentieth is what medians differ by when nothing does
    "tiled": Kind(tiled, 3.0),
    "soft targets": Kind(of_soft_targets, 1.3),
    "ignore_index": Kind(ignoring, 1.3),
}
