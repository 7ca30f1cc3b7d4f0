"""The pass over classes on a GPU: the launches of its sums and of its gradient."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS, NEGATIVES, Request, is_index, sums_dtype
from lossreg_segmentation.statistics.triton_launch import constants_of, launch, power_of_two, tiles_of

# The most blocks of pixels that one program adds up, and the number of programs that fills a GPU.
MOST_STEPS = 16
ENOUGH_PROGRAMS = 2048


def sums_parts(x: Tensor, t: Tensor, request: Request) -> Tensor:
    """Compute partial sums of `request.needs`, (K, B, C, P). x is (B, C, L); both are contiguous."""
    from lossreg_segmentation.statistics.triton_softmax_kernels import softmax_sums

    (b, c, length), k = x.shape, len(request.needs)
    tiles = tiles_of(x, request)
    steps = max(1, min(MOST_STEPS, tiles.per_row, tiles.programs // ENOUGH_PROGRAMS))
    count = -(-tiles.per_row // steps)
    parts = x.new_empty((k, b, c, count), dtype=sums_dtype(x))
    constants = constants_of(set(FIELDS) - NEGATIVES, t, request) | _class_constants(x, t)
    tiles = tiles._replace(programs=b * count)
    launch(softmax_sums, tiles, (x, t, parts, c, length, b * c, count, steps), constants)
    return parts


def gradient(x: Tensor, t: Tensor, grads: Tensor, request: Request, dx: Tensor) -> None:
    """Write dL/dx from dL/dsums, (K, B, C), into dx."""
    from lossreg_segmentation.statistics.triton_softmax_kernels import softmax_gradient

    b, c, length = x.shape
    tiles = tiles_of(x, request)
    constants = constants_of(DIFFERENTIABLE - NEGATIVES, t, request) | _class_constants(x, t)
    launch(softmax_gradient, tiles, (x, t, grads, dx, c, length, b * c, tiles.per_row), constants)


def _class_constants(x: Tensor, t: Tensor) -> dict[str, Any]:
    return {"INDEX": is_index(x, t), "C_PADDED": power_of_two(x.shape[1])}
