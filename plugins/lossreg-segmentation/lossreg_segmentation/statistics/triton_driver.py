"""The statistics as GPU kernels: the sums in one read of logits and target, the gradient in one read and one write."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossreg_segmentation.statistics.request import (
    DIFFERENTIABLE,
    FIELDS,
    NEGATIVES,
    UNIFORM,
    Request,
    is_index,
    sums_dtype,
)
from lossreg_segmentation.statistics.triton_tuning import fastest

# Elements that one program processes at a time, and the elements per warp.
MASK_BLOCK = 2048
CLASS_BLOCK = 4096
PER_WARP = 512
LEAST_BLOCK = 16
MOST_WARPS = 16
MOST_CANDIDATES = 4
# The most blocks of pixels that one program adds up, and the number of programs that fills a GPU.
MOST_STEPS = 16
ENOUGH_PROGRAMS = 2048


class _Tiles(NamedTuple):
    """The cut of a launch: `programs` of `block` positions, `per_row` of them per mask, or per example for softmax."""

    programs: int
    per_row: int
    block: int
    warps: int


def forward(x: Tensor, t: Tensor, request: Request) -> Tensor:
    """Compute the sums of `request.needs`, (K, B, C), in `sums_dtype(x)`. x is (B, C, L); both are contiguous."""
    (b, c, length), k = x.shape, len(request.needs)
    if x.numel() == 0 or k == 0:
        return x.new_zeros((k, b, c), dtype=sums_dtype(x))
    t = _as_numbers(t)
    tiles = _tiles(x, request)
    if request.activation == "sigmoid":
        from lossreg_segmentation.statistics.triton_kernels import sigmoid_sums

        parts = x.new_empty((k, b, c, tiles.per_row), dtype=sums_dtype(x))
        constants = _constants(set(FIELDS) - UNIFORM, t, request) | {"THRESHOLD": request.threshold}
        _launch(sigmoid_sums, tiles, (x, t, parts, b * c * length // t.numel(), length, tiles.per_row), constants)
    else:
        from lossreg_segmentation.statistics.triton_softmax_kernels import softmax_sums

        steps = max(1, min(MOST_STEPS, tiles.per_row, tiles.programs // ENOUGH_PROGRAMS))
        count = -(-tiles.per_row // steps)
        parts = x.new_empty((k, b, c, count), dtype=sums_dtype(x))
        constants = _constants(set(FIELDS) - NEGATIVES, t, request) | _class_constants(x, t)
        tiles = tiles._replace(programs=b * count)
        _launch(softmax_sums, tiles, (x, t, parts, c, length, b * c, count, steps), constants)
    # In float64 and in a fixed order: as exact as the parts, and the same on every run.
    return parts[..., 0] if parts.shape[-1] == 1 else parts.sum(-1, dtype=torch.float64).to(parts.dtype)


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request) -> Tensor:
    """Compute dL/dx from dL/dsums, (K, B, C): with x's shape and dtype, exactly 0 at ignored positions."""
    if x.numel() == 0 or not DIFFERENTIABLE.intersection(request.needs):
        return torch.zeros_like(x)
    b, c, length = x.shape
    t, grads, dx = _as_numbers(t), grads.to(sums_dtype(x)).contiguous(), torch.empty_like(x)
    tiles = _tiles(x, request)
    if request.activation == "sigmoid":
        from lossreg_segmentation.statistics.triton_kernels import sigmoid_gradient

        constants = _constants(DIFFERENTIABLE - UNIFORM, t, request)

        def launch(tiles: _Tiles) -> None:
            arguments = (x, t, grads, dx, b * c * length // t.numel(), length, b * c, tiles.per_row)
            _launch(sigmoid_gradient, tiles, arguments, constants)

        # Only this kernel is tuned: each of its results depends on one position, so every cut gives the same bits. The
        # other kernels add over positions or classes in an order that depends on the launch, so a seeded run would
        # differ from process to process. They use the table's launch.
        candidates = _candidates(tiles, length)
        launch(
            fastest(candidates, launch, _variant(sigmoid_gradient, candidates, constants, x, t), x.numel(), x.device)
        )
    else:
        from lossreg_segmentation.statistics.triton_softmax_kernels import softmax_gradient

        constants = _constants(DIFFERENTIABLE - NEGATIVES, t, request) | _class_constants(x, t)
        _launch(softmax_gradient, tiles, (x, t, grads, dx, c, length, b * c, tiles.per_row), constants)
    return dx


def _as_numbers(t: Tensor) -> Tensor:
    return t.view(torch.uint8) if t.dtype == torch.bool else t


def _tiles(x: Tensor, request: Request) -> _Tiles:
    b, c, length = x.shape
    softmax = request.activation == "softmax"
    rows, padded, most = (b, _power_of_two(c), CLASS_BLOCK) if softmax else (b * c, 1, MASK_BLOCK)
    if x.dtype == torch.float64:  # takes twice the registers
        most //= 2
    block = max(LEAST_BLOCK, min(most // padded, _power_of_two(length)))
    per_warp = PER_WARP // 2 if x.dtype == torch.float64 else PER_WARP
    return _cut(rows, length, block, max(1, min(8, block * padded // per_warp)))


def _cut(rows: int, length: int, block: int, warps: int) -> _Tiles:
    count = -(-length // block)
    return _Tiles(rows * count, count, block, warps)


def _candidates(table: _Tiles, length: int) -> list[_Tiles]:
    """Return the table's launch and its nearest neighbours."""
    rows, (block, warps) = table.programs // table.per_row, table[2:]
    near = (block // 2, warps), (2 * block, warps), (block, 2 * warps), (block, warps // 2)
    fitting = [
        _cut(rows, length, b, w) for b, w in near if LEAST_BLOCK <= b <= _power_of_two(length) and 1 <= w <= MOST_WARPS
    ]
    return [table, *fitting][:MOST_CANDIDATES]


def _variant(kernel: Any, candidates: list[_Tiles], constants: dict[str, Any], x: Tensor, t: Tensor) -> Hashable:
    """Return a key of all that the speed depends on. gamma and the ignored value count only by their code path."""
    gamma, ignore = constants["GAMMA"], constants["IGNORE"]
    code = constants | {"GAMMA": gamma if gamma in (0, 1, 2) else None, "IGNORE": ignore is not None}
    cuts = tuple((tiles.block, tiles.warps) for tiles in candidates)
    return kernel, cuts, x.dtype, t.dtype, frozenset(code.items())


def _constants(fields: Iterable[str], t: Tensor, request: Request) -> dict[str, Any]:
    """Return the kernels' compile-time constants, such as each sum's place in the stack, -1 if it is not requested."""
    places = {name: place for place, name in enumerate(request.needs)}
    constants: dict[str, Any] = {name.upper(): places.get(name, -1) for name in fields}
    return constants | {"GAMMA": request.gamma, "IGNORE": request.ignore_index, "SOFT": t.is_floating_point()}


def _class_constants(x: Tensor, t: Tensor) -> dict[str, Any]:
    return {"INDEX": is_index(x, t), "C_PADDED": _power_of_two(x.shape[1])}


def _power_of_two(number: int) -> int:
    """Return the smallest power of two >= `number`."""
    return 1 << (number - 1).bit_length()


def _launch(kernel: Any, tiles: _Tiles, arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
    with torch.cuda.device(arguments[0].get_device()):  # a launch uses the current device, not the tensors' device
        # Fused multiply-adds are requested explicitly: Triton warns if its default, which is changing, decides.
        options = {"num_warps": tiles.warps, "enable_fp_fusion": True}
        kernel[(tiles.programs,)](*arguments, **constants, BLOCK=tiles.block, **options)
