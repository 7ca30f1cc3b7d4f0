"""Targets out of range: a pass on a GPU finds them, the next call raises, and none waits for the device.

The kernels store a 1 in memory of the host that the device can write to, so the host only reads a number of its own.
"""

from __future__ import annotations

from ctypes import c_int32
from typing import NamedTuple

import torch
from torch import Tensor

from lossreg.errors import InputError

_WRONG = {
    "sigmoid": (
        "mask values other than 0 and 1, or floats outside 0 to 1",
        "divide masks of 0 and 255 by 255, or set ignore_index to the value that marks pixels to ignore",
    ),
    "softmax": (
        "class indices outside 0 to C - 1, or floats outside 0 to 1",
        "set ignore_index to the value that marks pixels to ignore, or correct the number of classes",
    ),
}


class _Found(NamedTuple):
    cell: Tensor
    value: c_int32


_found: dict[tuple[torch.device, str], _Found] = {}


def cell(device: torch.device, activation: str) -> Tensor:
    """Return the int32 in which the kernels of this activation store a number other than 0 if a target is wrong.

    Raises:
        InputError: a pass that has ended since the last call has found one.
    """
    found = _found.get((device, activation)) or _made(device, activation)
    if found.value.value:
        found.value.value = 0
        problem, remedy = _WRONG[activation]
        raise InputError(
            f"the target of an earlier call on {device} contained {problem}: the loss of these examples is NaN;"
            f" {remedy}; lossreg.debug_checks() finds the call and the value"
        )
    return found.cell


def _made(device: torch.device, activation: str) -> _Found:
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        # A capture may not allocate memory of the host: here the sums show a wrong target, and no message does.
        return _Found(torch.zeros(1, dtype=torch.int32, device=device), c_int32(0))
    memory = torch.zeros(1, dtype=torch.int32, pin_memory=device.type == "cuda")
    found = _Found(memory, c_int32.from_address(memory.data_ptr()))
    return _found.setdefault((device, activation), found)
