"""What the passes of masks and of classes share on a GPU: the cut into programs, the constants, and the launch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossreg_segmentation.statistics.request import Request

# Elements that one program processes at a time, and the elements per warp.
MASK_BLOCK = 2048
CLASS_BLOCK = 4096
PER_WARP = 512
LEAST_BLOCK = 16


class Tiles(NamedTuple):
    """The cut of a launch: `programs` of `block` positions, `per_row` of them per mask, or per example for softmax."""

    programs: int
    per_row: int
    block: int
    warps: int


def tiles_of(x: Tensor, request: Request) -> Tiles:
    """Return the table's cut of a pass."""
    b, c, length = x.shape
    softmax = request.activation == "softmax"
    rows, padded, most = (b, power_of_two(c), CLASS_BLOCK) if softmax else (b * c, 1, MASK_BLOCK)
    if x.dtype == torch.float64:  # takes twice the registers
        most //= 2
    block = max(LEAST_BLOCK, min(most // padded, power_of_two(length)))
    per_warp = PER_WARP // 2 if x.dtype == torch.float64 else PER_WARP
    return cut(rows, length, block, max(1, min(8, block * padded // per_warp)))


def cut(rows: int, length: int, block: int, warps: int) -> Tiles:
    """Cut rows of a length into blocks."""
    count = -(-length // block)
    return Tiles(rows * count, count, block, warps)


def constants_of(fields: Iterable[str], t: Tensor, request: Request) -> dict[str, Any]:
    """Return the kernels' compile-time constants, such as each sum's place in the stack, -1 if it is not requested."""
    places = {name: place for place, name in enumerate(request.needs)}
    constants: dict[str, Any] = {name.upper(): places.get(name, -1) for name in fields}
    return constants | {"GAMMA": request.gamma, "IGNORE": request.ignore_index, "SOFT": t.is_floating_point()}


def power_of_two(number: int) -> int:
    """Return the smallest power of two >= `number`."""
    return 1 << (number - 1).bit_length()


def launch(kernel: Any, tiles: Tiles, arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
    """Launch a kernel in one dimension."""
    start(kernel, (tiles.programs,), tiles.warps, arguments, constants | {"BLOCK": tiles.block})


def start(
    kernel: Any, grid: tuple[int, ...], warps: int, arguments: tuple[Any, ...], constants: dict[str, Any]
) -> None:
    """Launch a kernel on the device of its first argument."""
    device = arguments[0].get_device()
    # Fused multiply-adds are requested explicitly: Triton warns if its default, which is changing, decides.
    if device < 0 or device == torch.cuda.current_device():
        kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=True)
        return
    with torch.cuda.device(device):  # a launch uses the current device, not the tensors' device
        kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=True)
