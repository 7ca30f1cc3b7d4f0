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
from lossreg_segmentation.statistics.request import FIELDS, Request
from lossreg_segmentation.statistics.threads import in_threads
from lossreg_segmentation.statistics.weights import check_weight_values, weighed

Array = npt.NDArray[Any]

CHUNK = 2048  # positions per partial sum: over more equal values, float32 would round each addition the same way
FIELD_COUNT = len(FIELDS)
PER_THREAD = 65536  # logits below which another thread costs more than it saves

# Numba has no numbers of these types; its kernels identify them by the integer type of their bits.
_BITS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.bfloat16: np.uint16, torch.float16: np.int16}


def forward(x: Tensor, t: Tensor, request: Request, w: Tensor | None = None) -> Tensor:
    """Compute the sums of logits (B, C, L), (K, B, C) in the order of `request.needs`."""
    launch = launch_for(x.shape, x.dtype, t.shape, t.dtype, request, None if w is None else w.shape)
    return torch.from_numpy(launch.sums(x, t, w).astype(launch.real, copy=False))


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request, w: Tensor | None = None) -> Tensor:
    """Compute dL/dx, with the shape and dtype of x, from dL/dsums (K, B, C)."""
    launch = launch_for(x.shape, x.dtype, t.shape, t.dtype, request, None if w is None else w.shape)
    return launch.gradient(x, t, grads.numpy(), w)


@lru_cache(maxsize=1024)
def launch_for(
    shape: torch.Size,
    logits: torch.dtype,
    targets: torch.Size,
    target: torch.dtype,
    request: Request,
    weights: torch.Size | None = None,
) -> Launch:
    """Return the launch for logits (B, C, *), targets and weights of these shapes and types."""
    return Launch(shape, logits, targets, target, request, weights)


class Launch:
    """Two kernels and their arguments, for tensors of one shape and type."""

    def __init__(
        self,
        shape: torch.Size,
        logits: torch.dtype,
        targets: torch.Size,
        target: torch.dtype,
        request: Request,
        weights: torch.Size | None,
    ) -> None:
        self.request, self.logits, self.target = request, logits, target
        batch, self.classes = shape[:2]
        size = shape[2:].numel()
        self.index = index = len(targets) < len(shape)
        self.softmax = request.activation == "softmax"
        self.columns = [FIELDS.index(name) for name in request.needs]
        self.chunks = -(-size // CHUNK)
        rows = batch if self.softmax else batch * self.classes
        self.tasks = rows * self.chunks
        self.threads = batch * self.classes * size // PER_THREAD

        self.bits, self.stored = _BITS.get(logits), _NUMPY[logits]
        self.real = np.float64 if logits == torch.float64 else np.float32
        self.type = torch.float64 if logits == torch.float64 else torch.float32
        kind = request, logits, target, index, weights is not None
        self.forward, self.forward_numbers, self.read = _kernel(*kind, False)
        self.backward, self.backward_numbers, _ = _kernel(*kind, True)

        self.x_shape = (batch, self.classes, size) if self.softmax else (rows, size)
        masks = self.x_shape if self.softmax else (batch * targets[1], size)
        self.t_shape = (batch, size) if index else masks
        self.shared = self.classes // targets[1] if not self.softmax else 1  # masks that have one target
        if weights is not None:
            self.w_shape = (-1, size)
            self.sharing = (self.classes // weights[1],) if not self.softmax else ()  # masks that have one weight
        by_class = (self.classes,) if self.softmax else ()
        self.part_shape = (rows, self.chunks, *by_class, FIELD_COUNT)
        self.factors_shape = (rows, *by_class, FIELD_COUNT)
        self.sums_shape = (len(self.columns), batch, self.classes)
        self.masks = batch * self.classes

    # Few Python calls: for a small mask they take longer than the kernels.
    def sums(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Array:
        """Compute the sums (K, B, C), in float64 where partial sums are added. InputError for invalid values."""
        return self.added(self.parts(input, target, weight))

    def added(self, part: Array) -> Array:
        """Add up the partial sums, (K, B, C)."""
        sums = part[:, 0] if self.chunks == 1 else np.add.reduce(part, 1, np.float64)
        found: Array = sums.reshape(-1, FIELD_COUNT).T[self.columns]
        return found.reshape(self.sums_shape)

    def parts(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Array:
        """Compute the partial sums of each chunk, (R, chunks, 15) or, for classes, (B, chunks, C, 15)."""
        part = np.empty(self.part_shape, self.real)
        arguments = (*self._read(input, target), part, CHUNK)
        kernel, numbers = self.forward, self.forward_numbers
        if weight is not None:
            numbers += self._weights(weight)
        if self.threads < 2:
            wrong = kernel(*arguments, 0, self.tasks, *numbers)
        else:
            wrong = any(in_threads(self.tasks, self.threads, lambda a, b: kernel(*arguments, a, b, *numbers)))
        if wrong:
            target = target.detach()
            if weight is not None:
                check_weight_values(weight)
                target = weighed(target, weight)
            check_values(target, self.classes, self.index, self.request.ignore_index, input.detach())
        return part

    def gradient(self, input: Tensor, target: Tensor, slopes: Array, weight: Tensor | None = None) -> Tensor:
        """Compute the gradient to the input from that of each sum, (K, B, C)."""
        factors = np.zeros((self.masks, FIELD_COUNT), self.real)
        factors[:, self.columns] = slopes.reshape(len(self.columns), self.masks).T
        return self.gradient_by(factors, input, target, weight)

    def gradient_by(self, factors: Array, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the gradient to the input from the factors of all sums, (B C, 15)."""
        if self.softmax:
            factors = factors.reshape(self.factors_shape)
        # Allocated by NumPy, which requests huge pages: the page faults of small ones took half of the time.
        gradient = np.empty(self.x_shape, self.stored)
        arguments = (*self._read(input, target), gradient, factors, CHUNK)
        kernel, numbers = self.backward, self.backward_numbers
        if weight is not None:
            numbers += self._weights(weight)
        if self.threads < 2:
            kernel(*arguments, 0, self.tasks, *numbers)
        else:
            in_threads(self.tasks, self.threads, lambda a, b: kernel(*arguments, a, b, *numbers))
        found = torch.from_numpy(gradient)
        return (found.view(self.logits) if self.bits else found).view(input.shape)

    def _read(self, input: Tensor, target: Tensor) -> tuple[Any, ...]:
        """Return the first arguments of a kernel: logits, targets, and for masks how many share a target."""
        if self.bits:
            input = input.detach().contiguous().view(self.bits)
        if self.read != self.target:
            target = target.detach()
            target = target.view(torch.uint8) if self.target == torch.bool else target.to(self.read)
        x, t = input.numpy(force=True).reshape(self.x_shape), target.numpy(force=True).reshape(self.t_shape)
        if not x.flags.c_contiguous:
            x = np.ascontiguousarray(x)
        if not t.flags.c_contiguous:
            t = np.ascontiguousarray(t)
        return (x, t) if self.softmax else (x, t, self.shared)

    def _weights(self, weight: Tensor) -> tuple[Any, ...]:
        """Return the last arguments of a weighted kernel: weights, and for masks how many share them."""
        weight = weight.detach()
        weight = weight.view(torch.uint8) if weight.dtype == torch.bool else weight.to(self.type)
        return np.ascontiguousarray(weight.numpy(force=True)).reshape(self.w_shape), *self.sharing


@lru_cache(maxsize=256)
def _kernel(
    request: Request, logits: torch.dtype, target: torch.dtype, index: bool, weighted: bool, gradient: bool
) -> tuple[Any, tuple[Any, ...], torch.dtype]:
    """Return a kernel, its last arguments, and the target's type that it reads."""
    soft, softmax = target.is_floating_point, request.activation == "softmax"
    dtype = torch.float64 if logits == torch.float64 else torch.float32
    real = np.float64 if logits == torch.float64 else np.float32
    variant = variant_of(request, soft=soft, index=index, gradient=gradient, weighted=weighted)
    kernels = numba_softmax if softmax else numba_sigmoid
    kernel = kernels.gradient_kernel(variant) if gradient else kernels.sums_kernel(variant)
    read = dtype if soft else torch.uint8 if target == torch.bool else target  # a copy where types of floats differ
    ignored = torch.empty(0, dtype=read).numpy().dtype.type(request.ignore_index or 0)
    numbers: tuple[Any, ...] = (real(request.gamma), ignored)
    if not softmax and not gradient:
        numbers += (real(request.threshold),)
    return kernel, numbers, read
