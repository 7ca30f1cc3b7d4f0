"""The launch of a kernel on the device of its tensors."""

from __future__ import annotations

from typing import Any

import torch


def power_of_two(number: int) -> int:
    """Return the smallest power of two >= `number`."""
    return 1 << (number - 1).bit_length()


def start(
    kernel: Any, grid: tuple[int, ...], warps: int, arguments: tuple[Any, ...], constants: dict[str, Any]
) -> None:
    """Launch a kernel. Its first argument is a tensor on the device."""
    device = arguments[0].get_device()
    # Fused multiply-adds are requested explicitly: Triton warns if its default, which is changing, decides.
    if device < 0 or device == torch.cuda.current_device():
        kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=True)
        return
    with torch.cuda.device(device):  # a launch uses the current device, not the tensors' device
        kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=True)
