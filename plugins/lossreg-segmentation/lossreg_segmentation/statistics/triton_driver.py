"""The statistics as GPU kernels: the sums in one read of logits and target, the gradient in one read and one write."""

from __future__ import annotations

import torch
from torch import Tensor

from lossreg_segmentation.statistics import triton_sigmoid, triton_softmax
from lossreg_segmentation.statistics.request import DIFFERENTIABLE, Request, sums_dtype


def forward(x: Tensor, t: Tensor, request: Request, w: Tensor | None = None) -> Tensor:
    """Compute the sums of `request.needs`, (K, B, C), in `sums_dtype(x)`. x is (B, C, L); both may have any strides."""
    (batch, classes, _), count = x.shape, len(request.needs)
    if x.numel() == 0 or count == 0:
        return x.new_zeros((count, batch, classes), dtype=sums_dtype(x))
    parts = sums_parts(x, t, request, w)
    # In float64 and in a fixed order: as exact as the parts, and the same on every run.
    sums = parts[..., 0] if parts.shape[-1] == 1 else parts.sum(-1, dtype=torch.float64).to(parts.dtype)
    return sums.view(count, batch, classes)


def backward(x: Tensor, t: Tensor, grads: Tensor, request: Request, w: Tensor | None = None) -> Tensor:
    """Compute dL/dx from dL/dsums, (K, B, C): with x's shape, strides and dtype, exactly 0 at ignored positions."""
    if x.numel() == 0 or not DIFFERENTIABLE.intersection(request.needs):
        return torch.zeros_like(x)
    return gradient(x, t, grads.to(sums_dtype(x)).contiguous().flatten(1), None, request, w)


def sums_parts(x: Tensor, t: Tensor, request: Request, w: Tensor | None = None) -> Tensor:
    """Compute partial sums, (K, B * C, P), which add up over P to those of `forward`. x is not empty."""
    compute = triton_sigmoid.sums_parts if request.activation == "sigmoid" else triton_softmax.sums_parts
    return compute(x, t, request, w)


def gradient(
    x: Tensor, t: Tensor, factors: Tensor, scale: Tensor | None, request: Request, w: Tensor | None = None
) -> Tensor:
    """Compute dL/dx from a factor for each sum, (K, B * C) in `sums_dtype(x)`, each times the scale, one number."""
    compute = triton_sigmoid.gradient if request.activation == "sigmoid" else triton_softmax.gradient
    return compute(x, t, factors, scale, request, w)
