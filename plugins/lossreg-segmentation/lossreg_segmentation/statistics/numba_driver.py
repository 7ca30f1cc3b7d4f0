"""The statistics by compiled CPU kernels: one loop forward, one backward, over as many threads as torch may use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossreg_segmentation.statistics import numba_sigmoid, numba_softmax
from lossreg_segmentation.statistics.checks import check_values
from lossreg_segmentation.statistics.numba_variant import variant_of
from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS, Request, is_index, sums_dtype
from lossreg_segmentation.statistics.threads import in_threads

Array = npt.NDArray[Any]

CHUNK = 16384  # positions of a partial sum: float32 adds that many without losing digits that matter
PER_THREAD = 65536  # logits below which another thread costs more than it saves

# Numba cannot read these as numbers; its kernels tell them by the integer that holds their bits.
_BITS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}


def forward(x: Tensor, t: Tensor, request: Request) -> Tensor:
    """The sums of logits (B, C, L), (K, B, C) in the order of `request.needs`."""
    batch, classes, size = x.shape
    softmax, dtype = request.activation == "softmax", sums_dtype(x)
    columns = [FIELDS.index(name) for name in request.needs]
    variant = variant_of(request, soft=t.is_floating_point(), index=is_index(x, t), gradient=False)
    real = np.dtype(str(dtype).removeprefix("torch.")).type
    targets, ignored = _target(t, dtype, request)
    numbers: tuple[Any, ...] = (real(request.gamma), ignored)
    chunks = -(-size // CHUNK)
    if softmax:
        part = np.empty((batch, chunks, classes, len(FIELDS)), real)
        kernel = numba_softmax.sums_kernel(variant)
        arguments: tuple[Any, ...] = (_array(x), targets, part, CHUNK)
    else:
        part = np.empty((batch * classes, chunks, len(FIELDS)), real)
        kernel = numba_sigmoid.sums_kernel(variant)
        arguments = (_rows(_array(x)), _rows(targets), classes // t.shape[1], part, CHUNK)
        numbers += (real(request.threshold),)
    wrong = in_threads(
        part.shape[0] * chunks, x.numel() // PER_THREAD, lambda low, high: kernel(*arguments, low, high, *numbers)
    )
    if any(wrong):
        check_values(t, classes, is_index(x, t), request.ignore_index)
    sums = part.sum(1, dtype=np.float64).reshape(batch, classes, len(FIELDS))[..., columns]
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(sums, -1, 0), real))


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request) -> Tensor:
    """dL/dx, as x is, from dL/dsums (K, B, C)."""
    batch, classes, size = x.shape
    softmax, dtype = request.activation == "softmax", sums_dtype(x)
    variant = variant_of(request, soft=t.is_floating_point(), index=is_index(x, t), gradient=True)
    targets, ignored = _target(t, dtype, request)
    incoming = grads.numpy()
    factors = np.zeros((batch, classes, len(FIELDS)), incoming.dtype)
    for number, name in enumerate(request.needs):
        if name in DIFFERENTIABLE:
            factors[..., FIELDS.index(name)] = incoming[number]
    numbers = (incoming.dtype.type(request.gamma), ignored)
    gradient = torch.empty_like(x)
    chunks = -(-size // CHUNK)
    if softmax:
        kernel, tasks = numba_softmax.gradient_kernel(variant), batch * chunks
        arguments: tuple[Any, ...] = (_array(x), targets, _array(gradient), factors, CHUNK)
    else:
        kernel, tasks = numba_sigmoid.gradient_kernel(variant), batch * classes * chunks
        shared = classes // t.shape[1]
        arguments = (_rows(_array(x)), _rows(targets), shared, _rows(_array(gradient)), _rows(factors), CHUNK)
    in_threads(tasks, x.numel() // PER_THREAD, lambda low, high: kernel(*arguments, low, high, *numbers))
    return gradient


def _array(x: Tensor) -> Array:
    array: Array = x.view(_BITS.get(x.dtype, x.dtype)).numpy()
    return array


def _rows(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


def _target(t: Tensor, dtype: torch.dtype, request: Request) -> tuple[Array, Any]:
    """The target as the kernels read it, and the value that is ignored, of the same type."""
    if t.is_floating_point():
        t = t.to(dtype)  # a copy where the types differ
    array: Array = (t.view(torch.uint8) if t.dtype == torch.bool else t).numpy()
    return array, array.dtype.type(request.ignore_index or 0)
