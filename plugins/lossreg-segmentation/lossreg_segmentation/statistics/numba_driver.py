"""The statistics by compiled CPU kernels: one loop forward and one backward, in as many threads as torch may use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossreg_segmentation.statistics import numba_sigmoid, numba_softmax
from lossreg_segmentation.statistics.checks import check_values
from lossreg_segmentation.statistics.numba_variant import variant_of
from lossreg_segmentation.statistics.request import FIELDS, Request, is_index
from lossreg_segmentation.statistics.threads import in_threads

Array = npt.NDArray[Any]

CHUNK = 2048  # positions per partial sum: over more equal values, float32 would round each addition the same way
PER_THREAD = 65536  # logits below which another thread costs more than it saves

# Numba has no numbers of these types; its kernels identify them by the integer type of their bits.
_BITS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class _Plan(NamedTuple):
    """The kernel and its arguments for a request and tensor types, independent of the tensors' sizes."""

    kernel: Any
    real: Any  # NumPy's type of the computation
    columns: list[int]  # indices into FIELDS
    numbers: tuple[Any, ...]  # the kernel's last arguments
    target: torch.dtype  # the target's type that the kernel reads


def forward(x: Tensor, t: Tensor, request: Request) -> Tensor:
    """Compute the sums of logits (B, C, L), (K, B, C) in the order of `request.needs`."""
    batch, classes, size = x.shape
    plan = _plan(request, x.dtype, t.dtype, is_index(x, t), False)
    chunks = -(-size // CHUNK)
    targets = _array(_readable(t, plan))
    if request.activation == "softmax":
        part = np.empty((batch, chunks, classes, len(FIELDS)), plan.real)
        arguments: tuple[Any, ...] = (_array(x), targets, part, CHUNK)
    else:
        part = np.empty((batch * classes, chunks, len(FIELDS)), plan.real)
        arguments = (_rows(_array(x)), _rows(targets), classes // t.shape[1], part, CHUNK)
    wrong = in_threads(
        part.shape[0] * chunks,
        x.numel() // PER_THREAD,
        lambda low, high: plan.kernel(*arguments, low, high, *plan.numbers),
    )
    if any(wrong):
        check_values(t, classes, is_index(x, t), request.ignore_index, x)
    sums = (part[:, 0] if chunks == 1 else part.sum(1, dtype=np.float64)).reshape(batch * classes, len(FIELDS))
    return torch.from_numpy(sums.T[plan.columns].astype(plan.real, copy=False)).view(len(plan.columns), batch, classes)


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request) -> Tensor:
    """Compute dL/dx, with the shape and dtype of x, from dL/dsums (K, B, C)."""
    batch, classes, size = x.shape
    plan = _plan(request, x.dtype, t.dtype, is_index(x, t), True)
    factors = np.zeros((batch * classes, len(FIELDS)), plan.real)
    factors[:, plan.columns] = grads.numpy().reshape(len(plan.columns), batch * classes).T
    gradient = _empty_like(x)
    tasks = batch * -(-size // CHUNK)
    targets = _array(_readable(t, plan))
    if request.activation == "softmax":
        cube = factors.reshape(batch, classes, len(FIELDS))
        arguments: tuple[Any, ...] = (_array(x), targets, _array(gradient), cube, CHUNK)
    else:
        tasks *= classes
        shared = classes // t.shape[1]
        arguments = (_rows(_array(x)), _rows(targets), shared, _rows(_array(gradient)), factors, CHUNK)
    in_threads(tasks, x.numel() // PER_THREAD, lambda low, high: plan.kernel(*arguments, low, high, *plan.numbers))
    return gradient


@lru_cache(maxsize=256)
def _plan(request: Request, logits: torch.dtype, target: torch.dtype, index: bool, gradient: bool) -> _Plan:
    soft, softmax = target.is_floating_point, request.activation == "softmax"
    dtype = torch.float64 if logits == torch.float64 else torch.float32
    real = _NUMPY[dtype]
    variant = variant_of(request, soft=soft, index=index, gradient=gradient)
    kernels = numba_softmax if softmax else numba_sigmoid
    kernel = kernels.gradient_kernel(variant) if gradient else kernels.sums_kernel(variant)
    read = dtype if soft else torch.uint8 if target == torch.bool else target  # a copy where types of floats differ
    ignored = torch.empty(0, dtype=read).numpy().dtype.type(request.ignore_index or 0)
    numbers: tuple[Any, ...] = (real(request.gamma), ignored)
    if not softmax and not gradient:
        numbers += (real(request.threshold),)
    return _Plan(kernel, real, [FIELDS.index(name) for name in request.needs], numbers, read)


def _empty_like(x: Tensor) -> Tensor:
    """Allocate by NumPy, which requests huge pages: the page faults of small ones took half of the time of backward."""
    dtype = _BITS.get(x.dtype, x.dtype)
    return torch.from_numpy(np.empty(x.shape, str(dtype).removeprefix("torch."))).view(x.dtype)


def _readable(t: Tensor, plan: _Plan) -> Tensor:
    return t.view(torch.uint8) if t.dtype == torch.bool else t.to(plan.target)


def _array(x: Tensor) -> Array:
    array: Array = x.view(_BITS[x.dtype]).numpy() if x.dtype in _BITS else x.numpy()
    return array


def _rows(array: Array) -> Array:
    return array.reshape(array.shape[0] * array.shape[1], array.shape[2])
