"""The statistics as GPU kernels: the sums in one read of logits and target, the gradient in one read and one write."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from lossreg_segmentation.statistics import triton_softmax
from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS, UNIFORM, Request, sums_dtype
from lossreg_segmentation.statistics.triton_launch import (
    LEAST_BLOCK,
    Tiles,
    constants_of,
    cut,
    launch,
    power_of_two,
    tiles_of,
)
from lossreg_segmentation.statistics.triton_tuning import fastest

MOST_WARPS = 16
MOST_CANDIDATES = 4


def forward(x: Tensor, t: Tensor, request: Request) -> Tensor:
    """Compute the sums of `request.needs`, (K, B, C), in `sums_dtype(x)`. x is (B, C, L); both are contiguous."""
    (b, c, length), k = x.shape, len(request.needs)
    if x.numel() == 0 or k == 0:
        return x.new_zeros((k, b, c), dtype=sums_dtype(x))
    t = _as_numbers(t)
    if request.activation == "sigmoid":
        from lossreg_segmentation.statistics.triton_kernels import sigmoid_sums

        tiles = tiles_of(x, request)
        parts = x.new_empty((k, b, c, tiles.per_row), dtype=sums_dtype(x))
        constants = constants_of(set(FIELDS) - UNIFORM, t, request) | {"THRESHOLD": request.threshold}
        launch(sigmoid_sums, tiles, (x, t, parts, b * c * length // t.numel(), length, tiles.per_row), constants)
    else:
        parts = triton_softmax.sums_parts(x, t, request)
    # In float64 and in a fixed order: as exact as the parts, and the same on every run.
    return parts[..., 0] if parts.shape[-1] == 1 else parts.sum(-1, dtype=torch.float64).to(parts.dtype)


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request) -> Tensor:
    """Compute dL/dx from dL/dsums, (K, B, C): with x's shape and dtype, exactly 0 at ignored positions."""
    if x.numel() == 0 or not DIFFERENTIABLE.intersection(request.needs):
        return torch.zeros_like(x)
    b, c, length = x.shape
    t, grads, dx = _as_numbers(t), grads.to(sums_dtype(x)).contiguous(), torch.empty_like(x)
    if request.activation == "sigmoid":
        from lossreg_segmentation.statistics.triton_kernels import sigmoid_gradient

        constants = constants_of(DIFFERENTIABLE - UNIFORM, t, request)

        def run(tiles: Tiles) -> None:
            arguments = (x, t, grads, dx, b * c * length // t.numel(), length, b * c, tiles.per_row)
            launch(sigmoid_gradient, tiles, arguments, constants)

        # Only this kernel is tuned: each of its results depends on one position, so every cut gives the same bits. The
        # other kernels add over positions or classes in an order that depends on the launch, so a seeded run would
        # differ from process to process. They use the table's launch.
        candidates = _candidates(tiles_of(x, request), length)
        run(fastest(candidates, run, _variant(sigmoid_gradient, candidates, constants, x, t), x.numel(), x.device))
    else:
        triton_softmax.gradient(x, t, grads, request, dx)
    return dx


def _as_numbers(t: Tensor) -> Tensor:
    return t.view(torch.uint8) if t.dtype == torch.bool else t


def _candidates(table: Tiles, length: int) -> list[Tiles]:
    """Return the table's launch and its nearest neighbours."""
    rows, (block, warps) = table.programs // table.per_row, table[2:]
    near = (block // 2, warps), (2 * block, warps), (block, 2 * warps), (block, warps // 2)
    fitting = [
        cut(rows, length, b, w) for b, w in near if LEAST_BLOCK <= b <= power_of_two(length) and 1 <= w <= MOST_WARPS
    ]
    return [table, *fitting][:MOST_CANDIDATES]


def _variant(kernel: Any, candidates: list[Tiles], constants: dict[str, Any], x: Tensor, t: Tensor) -> Hashable:
    """Return a key of all that the speed depends on. gamma and the ignored value count only by their code path."""
    gamma, ignore = constants["GAMMA"], constants["IGNORE"]
    code = constants | {"GAMMA": gamma if gamma in (0, 1, 2) else None, "IGNORE": ignore is not None}
    cuts = tuple((tiles.block, tiles.warps) for tiles in candidates)
    return kernel, cuts, x.dtype, t.dtype, frozenset(code.items())
