"""The Dice overlap of spatial gradients: outlines count, flat interiors do not."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Loss, ShapeError, Term, losses
from lossreg.authoring import contract


@losses.register(
    "edge_dice",
    tags=["segmentation", "binary", "multilabel"],
    contract=contract(input="logits", target="mask", tasks=["binary", "multilabel"], positional=True),
)
class EdgeDiceLoss(Loss):
    """Dice overlap of the outlines of prediction and target, independent of the area that they cover.

        loss = sum |grad p - grad t|^2 / (sum |grad p|^2 + sum |grad t|^2 + smooth)

    Here p = sigmoid(input), and grad is the forward difference along every spatial axis.

    Args:
        smooth: added to the denominator, > 0, in squared differences. It makes the loss of a flat pair 0.
    Shapes:
        input (N, C, *) logits; target (N, C, *) in [0, 1], or (N, *) when C is 1.
        terms: {"edge_dice": (N, C)}, dimensionless, between 0 and 2.
    Raises:
        ShapeError: sizes differ, or there is no spatial axis; nothing is broadcast.
    Numerics: float32 or wider; finite for any finite logit.
    Source: Milletari et al. 2016, the squared Dice loss, here on gradients.
    """

    def __init__(
        self,
        *,
        smooth: Annotated[float, Field(gt=0)] = 1.0,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.smooth = smooth

    def terms(self, input: Tensor, target: Tensor) -> dict[str, Term]:
        """Return one value per example and channel."""
        mask = target.unsqueeze(1) if target.ndim == input.ndim - 1 else target
        if input.ndim < 3 or input.shape != mask.shape:
            raise ShapeError(
                "edge_dice expects input (N, C, *) and a target of the same shape, or (N, *) when C is 1; "
                f"got input {tuple(input.shape)} and target {tuple(target.shape)}"
            )
        # The sums run over thousands of pixels, too many for half precision.
        wide = torch.promote_types(input.dtype, torch.float32)
        predicted, expected = input.to(wide).sigmoid(), mask.to(wide)
        error = gradient_energy(predicted - expected)
        scale = gradient_energy(predicted) + gradient_energy(expected)
        return {"edge_dice": Term(error / (scale + self.smooth), per="pair")}


def gradient_energy(image: Tensor) -> Tensor:
    """Return the sum of squared forward differences: (N, C, *) to (N, C)."""
    axes = range(2, image.ndim)
    energies = [image.diff(dim=axis).square().flatten(2).sum(dim=2) for axis in axes]
    return torch.stack(energies).sum(dim=0)
