"""A request as the kernels on a GPU take it: constants that are compiled, and arguments."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from lossreg_segmentation.statistics.request import Request


def places_of(fields: Iterable[str], request: Request) -> dict[str, Any]:
    """Return each sum's place in the stack, -1 if it is not requested."""
    places = {name: place for place, name in enumerate(request.needs)}
    return {name.upper(): places.get(name, -1) for name in sorted(fields)}


def code_of(t_dtype: torch.dtype, request: Request) -> dict[str, Any]:
    """Return the constants of the code: gamma and the ignored value count only by their code path."""
    gamma = int(request.gamma) if request.gamma in (0, 1, 2) else None
    return {"GAMMA": gamma, "IGNORED": request.ignore_index is not None, "SOFT": t_dtype.is_floating_point}


def bits_of_float(number: float) -> int:
    """Return the 64 bits of a float. Triton would round an argument that is a float to float32."""
    (bits,) = struct.unpack("q", struct.pack("d", number))
    return int(bits)


def numbers_of(t: Tensor) -> Tensor:
    """Return a target whose type kernels can read."""
    return t.view(torch.uint8) if t.dtype == torch.bool else t


def moving(strides: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, 0 in dimensions of one element, where a tensor may state any; the last is at least 1."""
    *others, last = (stride if extent > 1 else 0 for stride, extent in zip(strides, shape, strict=True))
    return *others, last if shape[-1] > 1 else 1
