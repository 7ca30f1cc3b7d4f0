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

# Elements that one program holds at a time, and those of each of its warps.
MASK_BLOCK = 2048
CLASS_BLOCK = 4096
PER_WARP = 512
LEAST_BLOCK = 16
MOST_WARPS = 16
MOST_CANDIDATES = 4
# Blocks of pixels that one program adds up at most, and the programs that must be left to fill a GPU.
MOST_STEPS = 16
ENOUGH_PROGRAMS = 2048


class _Tiles(NamedTuple):
    """How a launch is cut: `programs` of `block` positions, `per_row` of them for a mask or an example of a softmax."""

    programs: int
    per_row: int
    block: int
    warps: int


def forward(x: Tensor, t: Tensor, request: Request) -> Tensor:
    """The sums that `request` needs, (K, B, C), in `sums_dtype(x)`. x is (B, C, L); everything is contiguous."""
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
    # In float64 and in one order: as exact as the parts, and the same on every run.
    return parts[..., 0] if parts.shape[-1] == 1 else parts.sum(-1, dtype=torch.float64).to(parts.dtype)


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request) -> Tensor:
    """dL/dx from dL/dsums, (K, B, C): of x's shape and dtype, exactly 0 at ignored positions."""
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

        # The one kernel whose every result comes from one position: however it is cut, the bits are the same. The sums
        # over positions, and those over the classes of a pixel, are added in an order that the launch decides, so a
        # seeded run would differ from process to process. They keep to the table.
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
    """The table's choice and its nearest others."""
    rows, (block, warps) = table.programs // table.per_row, table[2:]
    near = (block // 2, warps), (2 * block, warps), (block, 2 * warps), (block, warps // 2)
    fitting = [
        _cut(rows, length, b, w) for b, w in near if LEAST_BLOCK <= b <= _power_of_two(length) and 1 <= w <= MOST_WARPS
    ]
    return [table, *fitting][:MOST_CANDIDATES]


def _variant(kernel: Any, candidates: list[_Tiles], constants: dict[str, Any], x: Tensor, t: Tensor) -> Hashable:
    """What the speed of a kernel depends on. Of gamma and the ignored value, the code that they lead to alone."""
    gamma, ignore = constants["GAMMA"], constants["IGNORE"]
    code = constants | {"GAMMA": gamma if gamma in (0, 1, 2) else None, "IGNORE": ignore is not None}
    cuts = tuple((tiles.block, tiles.warps) for tiles in candidates)
    return kernel, cuts, x.dtype, t.dtype, frozenset(code.items())


def _constants(fields: Iterable[str], t: Tensor, request: Request) -> dict[str, Any]:
    """What the kernels are compiled for: the place of each sum in the stack, -1 where it is not asked for."""
    places = {name: place for place, name in enumerate(request.needs)}
    constants: dict[str, Any] = {name.upper(): places.get(name, -1) for name in fields}
    return constants | {"GAMMA": request.gamma, "IGNORE": request.ignore_index, "SOFT": t.is_floating_point()}


def _class_constants(x: Tensor, t: Tensor) -> dict[str, Any]:
    return {"INDEX": is_index(x, t), "C_PADDED": _power_of_two(x.shape[1])}


def _power_of_two(number: int) -> int:
    """The smallest one from `number` on."""
    return 1 << (number - 1).bit_length()


def _launch(kernel: Any, tiles: _Tiles, arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
    with torch.cuda.device(arguments[0].get_device()):  # a launch goes to the current device, wherever its tensors are
        # Fused multiply-adds asked for by name: Triton warns where its changing default decides.
        options = {"num_warps": tiles.warps, "enable_fp_fusion": True}
        kernel[(tiles.programs,)](*arguments, **constants, BLOCK=tiles.block, **options)
