"""Divergences of heat maps as modules; kornia has them as functions."""

from __future__ import annotations

from typing import Literal

from kornia.losses import js_div_loss_2d, kl_div_loss_2d
from torch import Tensor, nn

from lossreg import losses
from lossreg.authoring import contract

Reduction = Literal["none", "mean", "sum"]
CONTRACT = contract(input="heat maps", target="heat maps", tasks=(), per_example=False, half_precision=False)


@losses.register("kl_div_2d", tags=("regression", "probabilities"), family="kl_div", contract=CONTRACT)
class KLDiv2d(nn.Module):
    """Kullback-Leibler divergence of the predicted from the target heat map; each sums to 1.

        loss = sum(target * log(target / input))

    Args:
        reduction: over examples and channels: "mean", "sum", or "none" for (N, C).
    Shapes:
        input and target (N, C, H, W) probabilities.
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the divergence, 0 for equal maps."""
        return kl_div_loss_2d(input, target, self.reduction)


@losses.register("js_div_2d", tags=("regression", "probabilities"), family="js_div", contract=CONTRACT)
class JSDiv2d(nn.Module):
    """Jensen-Shannon divergence of two heat maps, each with the sum 1; at most log 2.

        loss = (KL(target, middle) + KL(input, middle)) / 2

    Args:
        reduction: over examples and channels: "mean", "sum", or "none" for (N, C).
    Shapes:
        input and target (N, C, H, W) probabilities.
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the divergence, 0 for equal maps."""
        return js_div_loss_2d(input, target, self.reduction)
