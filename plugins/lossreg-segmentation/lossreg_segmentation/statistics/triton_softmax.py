"""The pass over exclusive classes on a GPU: the cut into programs, and the launches of sums and gradient."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS, NEGATIVES, Request, is_index, sums_dtype
from lossreg_segmentation.statistics.triton_launch import power_of_two, start
from lossreg_segmentation.statistics.triton_request import bits_of_float, code_of, moving, numbers_of, places_of
from lossreg_segmentation.statistics.triton_targets import cell

WARP = 32
# Classes that one tile holds; more are read as tiles of fewer, one after another.
MOST_CLASSES = 32
CLASSES_AT_ONCE = 8
# Pixels of a thread, and the classes for each of them; float64 takes twice the registers.
PIXELS = 2
CLASSES = 8
# The most blocks that one program adds up, and the number of programs that fills a GPU.
MOST_STEPS = 64
ENOUGH_PROGRAMS = 4096
# The most programs in the second dimension of a grid.
MOST_PARTS = 65535
# Bytes of an address that the compiler knows to be a multiple.
ALIGNMENT = 16

Strides = tuple[int, ...]


class Plan(NamedTuple):
    """All of a launch but its tensors: `parts` programs for each example."""

    parts: int
    sizes: tuple[int, ...]  # strides of x and t, the hidden 1, C and L, bits of gamma, the ignored value, steps
    sums: dict[str, Any]  # constants of each kernel
    gradient: dict[str, Any]


def sums_parts(x: Tensor, t: Tensor, request: Request, w: Tensor | None) -> Tensor:
    """Compute partial sums of `request.needs`, (K, B * C, P). x is (B, C, L), t (B, C, L) or (B, L), of any strides."""
    from lossreg_segmentation.statistics.triton_softmax_sums import softmax_sums

    (batch, classes, length), count, dtype = x.shape, len(request.needs), sums_dtype(x)
    w = None if w is None else w.contiguous()
    plan = plan_of(x, t, request, w)
    parts = x.new_empty((count, batch * classes, plan.parts), dtype=dtype)
    # Of pixels whose classes are several tiles: the largest logit, the sum of the others, the likeliest class, its own.
    softmax = x.new_empty((batch, 4, length), dtype=dtype) if plan.sums["CHUNKS"] > 1 else None
    arguments = (x, numbers_of(t), parts, softmax, cell(x.device, "softmax"))
    start(softmax_sums, (batch, plan.parts), 1, (*arguments, *plan.sizes, w), plan.sums)
    return parts


def gradient(x: Tensor, t: Tensor, factors: Tensor, scale: Tensor | None, request: Request, w: Tensor | None) -> Tensor:
    """Compute dL/dx, with x's strides, from a factor for each sum, (K, B * C), times the scale, a single number."""
    from lossreg_segmentation.statistics.triton_softmax_gradient import softmax_gradient

    dx = torch.empty_like(x)
    if dx.stride() != x.stride() and moving(dx.stride(), x.shape) != moving(x.stride(), x.shape):
        # x overlaps itself or has gaps, which dx has not
        x, dx = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    w = None if w is None else w.contiguous()
    plan = plan_of(x, t, request, w)
    arguments = (x, numbers_of(t), factors, scale, dx)
    start(softmax_gradient, (x.shape[0], plan.parts), 1, (*arguments, *plan.sizes, w), plan.gradient)
    return dx


def plan_of(x: Tensor, t: Tensor, request: Request, w: Tensor | None = None) -> Plan:
    """Return the plan of a pass; made once for tensors of the same kind."""
    aligned = x.data_ptr() % ALIGNMENT == 0 and t.data_ptr() % ALIGNMENT == 0
    aligned = aligned and (w is None or w.data_ptr() % ALIGNMENT == 0)
    return _plan(x.shape, x.stride(), aligned, x.dtype, t.shape, t.stride(), is_index(x, t), t.dtype, request)


@lru_cache(maxsize=1024)
def _plan(
    shape: torch.Size,
    x_strides: Strides,
    aligned: bool,
    x_dtype: torch.dtype,
    t_shape: torch.Size,
    t_strides: Strides,
    index: bool,
    t_dtype: torch.dtype,
    request: Request,
) -> Plan:
    batch, classes, length = shape
    x_b, x_c, x_l = moving(x_strides, shape)
    t_b, t_c, t_l = moving(t_strides if not index else (t_strides[0], 0, t_strides[1]), (batch, classes, length))
    # A thread reads adjacent pixels where all rows of both tensors begin at a multiple of them.
    adjacent = aligned and x_l == t_l == 1 and not any(extent % PIXELS for extent in (x_b, x_c, t_b, t_c, length))
    tile = tile_of(classes, x_dtype) | {"V": PIXELS if adjacent else 1}
    block = tile["V"] * tile["W"]
    blocks = -(-length // block)
    steps = max(1, min(MOST_STEPS, batch * blocks // ENOUGH_PROGRAMS), -(-blocks // MOST_PARTS))
    furthest = max(classes * x_c + block * x_l, classes * t_c + block * t_l)
    code = code_of(t_dtype, request) | tile | {"INDEX": index, "WIDE": furthest >= 2**31}
    numbers = (bits_of_float(request.gamma), request.ignore_index or 0, steps)
    sizes = (x_b, x_c, x_l, t_b, t_c, t_l, 1, classes, length, *numbers)
    sums = places_of(set(FIELDS) - NEGATIVES, request) | code
    return Plan(-(-blocks // steps), sizes, sums, places_of(DIFFERENTIABLE - NEGATIVES, request) | code)


def tile_of(classes: int, dtype: torch.dtype) -> dict[str, int]:
    """Return the tile of a program: its classes, and the threads for pixels and for the classes of each pixel."""
    tile = power_of_two(classes) if classes <= MOST_CLASSES else CLASSES_AT_ONCE
    lanes = max(1, tile // (CLASSES // 2 if dtype == torch.float64 else CLASSES))
    return {"W": WARP // lanes, "LANES": lanes, "C_TILE": tile, "CHUNKS": -(-classes // tile)}
