"""The errors of the kernels against plain torch in float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gpu.cases import Case
from lossreg_segmentation.statistics import implementation, mask_statistics

OF_SUMS = 1e-5
# A gradient is stored in the type of the logits. Triton's interpreter truncates to bfloat16 instead of rounding.
OF_GRADIENT = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


class Errors(NamedTuple):
    """Relative errors: the largest one of a sum over all masks, and the gradient's."""

    sums: float
    gradient: float

    def right(self, dtype: torch.dtype) -> bool:
        """Return True if both are rounding errors; NaN is not."""
        return self.sums < OF_SUMS and self.gradient < OF_GRADIENT[dtype]

    def __str__(self) -> str:
        return f"sums {self.sums:.1e} gradient {self.gradient:.1e}"


def errors(case: Case, x: Tensor, t: Tensor, ignore_index: int | None = None) -> Errors:
    """Compare the Triton kernels with plain torch in float64."""
    found = computed("triton", case, x, t, ignore_index)
    expected = computed("reference", case, x.double(), t, ignore_index)
    sums, gradient = (relative(a, b) for a, b in zip(found, expected, strict=True))
    return Errors(sums, gradient)


def computed(name: str, case: Case, x: Tensor, t: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """Compute the sums, one row each, and the gradient of a weighted sum of them, one row; both float64."""
    leaf = x.detach().clone().requires_grad_()
    with implementation(name):
        found = mask_statistics(leaf, t, activation=case.activation, needs=case.needs, ignore_index=ignore_index)
        sums = torch.stack([getattr(found, need) for need in case.needs]).double()
        weights = torch.linspace(0.5, 1.5, sums.numel(), dtype=torch.float64, device=sums.device)
        (gradient,) = torch.autograd.grad((sums.flatten() * weights).sum(), leaf)
    return sums.detach().flatten(1), gradient.double().view(1, -1)


def relative(found: Tensor, expected: Tensor) -> float:
    """Measure the largest relative error of a row, by norms."""
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())
