"""The pass over independent masks on a GPU: the cut into programs, and the launches of sums and gradient."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS, UNIFORM, Request, sums_dtype
from lossreg_segmentation.statistics.triton_launch import power_of_two, start
from lossreg_segmentation.statistics.triton_request import bits_of_float, code_of, moving, numbers_of, places_of
from lossreg_segmentation.statistics.triton_targets import cell

# Bytes of logits that a thread reads at once, and the warps of a program.
VECTOR = 16
WARPS = 4
# Positions of a thread where they are not adjacent.
APART = 4
# The most blocks that one program adds up, and the number of programs that fills a GPU.
MOST_STEPS = 16
ENOUGH_PROGRAMS = 2048
# The most programs in the second and in the third dimension of a grid.
MOST_PROGRAMS = 65535

Strides = tuple[int, ...]


class Plan(NamedTuple):
    """All of a launch but its tensors: `tiles` programs of `length` positions for each mask."""

    tiles: int
    length: int
    x_strides: Strides
    t_strides: Strides
    dx_strides: Strides
    numbers: tuple[int, ...]  # the bits of gamma and of the threshold, and the ignored value
    warps: int
    sums: dict[str, Any]  # constants of each kernel
    gradient: dict[str, Any]


def sums_parts(x: Tensor, t: Tensor, request: Request, w: Tensor | None) -> Tensor:
    """Compute partial sums of `request.needs`, (K, B * C, P). x is (B, C, L), t and w (B, C or 1, L)."""
    from lossreg_segmentation.statistics.triton_kernels import sigmoid_sums

    batch, classes, length = x.shape
    plan = _plan_of(x, t, x, request)
    parts = x.new_empty((len(request.needs), batch, classes, plan.tiles), dtype=sums_dtype(x))
    t, found = numbers_of(t), cell(x.device, "sigmoid")
    for part in _examples(batch):
        arguments = (x[part], t[part], parts[:, part], found) if part else (x, t, parts, found)
        sizes = (*plan.x_strides, *plan.t_strides, length, plan.length, batch * classes)
        grid = (classes, plan.tiles, arguments[0].shape[0])
        weights = _weights(w, part)
        start(sigmoid_sums, grid, plan.warps, (*arguments, *sizes, *plan.numbers, *weights), plan.sums)
    return parts.view(len(request.needs), batch * classes, plan.tiles)


def gradient(x: Tensor, t: Tensor, factors: Tensor, scale: Tensor | None, request: Request, w: Tensor | None) -> Tensor:
    """Compute dL/dx, with x's strides, from a factor for each sum, (K, B * C), times the scale, a single number."""
    from lossreg_segmentation.statistics.triton_kernels import sigmoid_gradient

    (batch, classes, length), dx = x.shape, torch.empty_like(x)
    plan = _plan_of(x, t, dx, request)
    t, factors = numbers_of(t), factors.view(len(request.needs), batch, classes)
    for part in _examples(batch):
        arguments = (x[part], t[part], factors[:, part], scale, dx[part]) if part else (x, t, factors, scale, dx)
        sizes = (*plan.x_strides, *plan.t_strides, *plan.dx_strides, length, plan.length, batch * classes)
        grid = (classes, plan.tiles, arguments[0].shape[0])
        numbers = (*plan.numbers[::2], *_weights(w, part))
        start(sigmoid_gradient, grid, plan.warps, (*arguments, *sizes, *numbers), plan.gradient)
    return dx


def _weights(w: Tensor | None, part: slice | None) -> tuple[Any, ...]:
    """Return the weights of a launch and their strides; None and zeros for none."""
    if w is None:
        return None, 0, 0, 0
    strides = moving(w.stride(), w.shape)
    return w[part] if part else w, *strides


def _examples(batch: int) -> list[slice | None]:
    """Return the examples of each launch; None for all."""
    if batch <= MOST_PROGRAMS:
        return [None]
    return [slice(first, first + MOST_PROGRAMS) for first in range(0, batch, MOST_PROGRAMS)]


def _plan_of(x: Tensor, t: Tensor, dx: Tensor, request: Request) -> Plan:
    return _plan(x.shape, x.stride(), x.dtype, t.shape, t.stride(), t.dtype, dx.stride(), request)


@lru_cache(maxsize=1024)
def _plan(
    shape: torch.Size,
    x_strides: Strides,
    x_dtype: torch.dtype,
    t_shape: torch.Size,
    t_strides: Strides,
    t_dtype: torch.dtype,
    dx_strides: Strides,
    request: Request,
) -> Plan:
    """Return the plan of a pass; made once for tensors of the same kind."""
    batch, classes, length = shape
    x_strides, t_strides = moving(x_strides, shape), moving(t_strides, t_shape)
    dx_strides = moving(dx_strides, shape)
    adjacent = x_strides[2] == 1
    vector = VECTOR // x_dtype.itemsize if adjacent else 1
    lane = vector if adjacent else APART  # positions of a thread
    warps = max(1, min(WARPS, power_of_two(length) // (32 * lane)))
    block = 32 * lane * warps
    # A mask begins within 16 bytes that belong to the one before it.
    shifted = adjacent and dx_strides == x_strides and any(extent % 16 for extent in (*x_strides[:2], length))
    blocks = -(-(length + (vector - 1) * shifted) // block)
    steps = max(1, min(MOST_STEPS, batch * classes * blocks // ENOUGH_PROGRAMS), -(-blocks // MOST_PROGRAMS))
    shift = shifted + (shifted and t_strides == x_strides)
    common = code_of(t_dtype, request) | {"SHIFT": shift, "V": vector, "BLOCK": block}
    numbers = (bits_of_float(request.gamma), bits_of_float(request.threshold), request.ignore_index or 0)
    sums = places_of(set(FIELDS) - UNIFORM, request) | common
    gradient = places_of(DIFFERENTIABLE - UNIFORM, request) | common
    tiles = -(-blocks // steps)
    return Plan(tiles, steps * block, x_strides, t_strides, dx_strides, numbers, warps, sums, gradient)
