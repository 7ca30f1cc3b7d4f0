"""The statistics by compiled CPU kernels: one loop forward and one backward, in as many threads as torch may use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

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
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.bfloat16: np.uint16, torch.float16: np.int16}


def forward(x: Tensor, t: Tensor, request: Request) -> Tensor:
    """Compute the sums of logits (B, C, L), (K, B, C) in the order of `request.needs`."""
    launch = launch_for(x.shape, x.dtype, t.shape, t.dtype, request)
    return torch.from_numpy(launch.sums(x, t).astype(launch.real, copy=False))


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request) -> Tensor:
    """Compute dL/dx, with the shape and dtype of x, from dL/dsums (K, B, C)."""
    return launch_for(x.shape, x.dtype, t.shape, t.dtype, request).gradient(x, t, grads.numpy())


@lru_cache(maxsize=1024)
def launch_for(
    shape: torch.Size, logits: torch.dtype, targets: torch.Size, target: torch.dtype, request: Request
) -> Launch:
    """Return the launch for logits (B, C, *) and targets of these shapes and types."""
    return Launch(shape, logits, targets, target, request)


class Launch:
    """Two kernels and their arguments, for tensors of one shape and type."""

    def __init__(
        self, shape: torch.Size, logits: torch.dtype, targets: torch.Size, target: torch.dtype, request: Request
    ) -> None:
        self.batch, self.classes = shape[:2]
        self.size = shape[2:].numel()
        self.request = request
        self.logits, self.target = logits, target
        self.softmax = request.activation == "softmax"
        self.real = np.float64 if logits == torch.float64 else np.float32
        self.columns = [FIELDS.index(name) for name in request.needs]
        self.chunks = -(-self.size // CHUNK)
        self.rows = self.batch if self.softmax else self.batch * self.classes
        index = len(targets) < len(shape)
        self.shared = 1 if index else self.classes // targets[1]
        self.x_shape = (self.batch, self.classes, self.size) if self.softmax else (self.rows, self.size)
        self.t_shape = (self.batch, self.size) if index else self.x_shape
        if self.shared > 1:
            self.t_shape = (self.batch * targets[1], self.size)
        self.kernels = tuple(_kernel(request, logits, target, index, gradient) for gradient in (False, True))
        self.threads = self.batch * self.classes * self.size // PER_THREAD

    def sums(self, input: Tensor, target: Tensor) -> Array:
        """Compute the sums (K, B, C), in float64 where partial sums are added. InputError for invalid target values."""
        kernel, numbers, _ = self.kernels[0]
        classes = (self.classes,) if self.softmax else ()
        part = np.empty((self.rows, self.chunks, *classes, len(FIELDS)), self.real)
        arguments = (*self._read(input, target), part, CHUNK)
        if self._run(kernel, arguments, numbers):
            target = target.detach()
            check_values(target, self.classes, is_index(input, target), self.request.ignore_index, input.detach())
        sums = part[:, 0] if self.chunks == 1 else part.sum(1, dtype=np.float64)
        found: Array = sums.reshape(-1, len(FIELDS)).T[self.columns]
        return found.reshape(len(self.columns), self.batch, self.classes)

    def gradient(self, input: Tensor, target: Tensor, slopes: Array) -> Tensor:
        """Compute the gradient to the input from that of each sum, (K, B, C)."""
        kernel, numbers, _ = self.kernels[1]
        factors = np.zeros((self.batch * self.classes, len(FIELDS)), self.real)
        factors[:, self.columns] = slopes.reshape(len(self.columns), -1).T
        if self.softmax:
            factors = factors.reshape(self.batch, self.classes, len(FIELDS))
        # Allocated by NumPy, which requests huge pages: the page faults of small ones took half of the time.
        gradient = np.empty(self.x_shape, _NUMPY[self.logits])
        self._run(kernel, (*self._read(input, target), gradient, factors, CHUNK), numbers)
        found = torch.from_numpy(gradient)
        return (found.view(self.logits) if self.logits in _BITS else found).view(input.shape)

    def _read(self, input: Tensor, target: Tensor) -> tuple[Any, ...]:
        """Return the first arguments of a kernel: logits, targets, and for masks how many share a target."""
        x, t = input.detach(), target.detach()
        if self.logits in _BITS:
            x = x.contiguous().view(_BITS[self.logits])
        elif not x.is_contiguous():
            x = x.contiguous()
        read = self.kernels[0][2]
        if t.dtype != read:
            t = t.contiguous().view(torch.uint8) if t.dtype == torch.bool else t.to(read)
        if not t.is_contiguous():
            t = t.contiguous()
        arrays = x.numpy().reshape(self.x_shape), t.numpy().reshape(self.t_shape)
        return arrays if self.softmax else (*arrays, self.shared)

    def _run(self, kernel: Any, arguments: tuple[Any, ...], numbers: tuple[Any, ...]) -> bool:
        """Run a kernel over all chunks; return True if it found an invalid target value."""
        tasks = self.rows * self.chunks
        if self.threads < 2:
            return bool(kernel(*arguments, 0, tasks, *numbers))
        return any(in_threads(tasks, self.threads, lambda low, high: kernel(*arguments, low, high, *numbers)))


@lru_cache(maxsize=256)
def _kernel(
    request: Request, logits: torch.dtype, target: torch.dtype, index: bool, gradient: bool
) -> tuple[Any, tuple[Any, ...], torch.dtype]:
    """Return a kernel, its last arguments, and the target's type that it reads."""
    soft, softmax = target.is_floating_point, request.activation == "softmax"
    dtype = torch.float64 if logits == torch.float64 else torch.float32
    real = np.float64 if logits == torch.float64 else np.float32
    variant = variant_of(request, soft=soft, index=index, gradient=gradient)
    kernels = numba_softmax if softmax else numba_sigmoid
    kernel = kernels.gradient_kernel(variant) if gradient else kernels.sums_kernel(variant)
    read = dtype if soft else torch.uint8 if target == torch.bool else target  # a copy where types of floats differ
    ignored = torch.empty(0, dtype=read).numpy().dtype.type(request.ignore_index or 0)
    numbers: tuple[Any, ...] = (real(request.gamma), ignored)
    if not softmax and not gradient:
        numbers += (real(request.threshold),)
    return kernel, numbers, read
