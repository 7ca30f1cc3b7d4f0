"""Mutual information of two images, as modules: kornia has functions of them."""

from __future__ import annotations

from typing import Annotated, Literal

from kornia import losses as kornia_losses
from pydantic import Field
from torch import Tensor, nn

from lossreg import losses
from lossreg.authoring import contract

Kernel = Literal["xu", "rectangular", "truncated_gaussian"]
CONTRACT = contract(input="images", target="images", tasks=(), per_example=False, half_precision=False)


@losses.register("mutual_information", tags=("registration",), contract=CONTRACT)
class MutualInformation(nn.Module):
    """Negative mutual information of the intensities of two images.

        loss = -(H(input) + H(target) - H(input, target))

    Args:
        spatial_dims: dimensions that make up one image; those before them each have a value.
        kernel: how a sample is spread over the bins of the histogram; "rectangular" gives no gradient.
        num_bins: bins of the histogram, between an image's least and its greatest value.
        window_radius: of the kernel, in bins.
    Shapes:
        input and target (..., sizes of spatial_dims dimensions); masks of booleans without the dimensions before;
        result (...).
    """

    measure = "mutual_information_loss"

    def __init__(
        self,
        spatial_dims: Literal[1, 2, 3] = 2,
        kernel: Kernel = "xu",
        num_bins: Annotated[int, Field(ge=2)] = 64,
        window_radius: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        suffix = "" if spatial_dims == 1 else f"_{spatial_dims}d"
        self.function = getattr(kornia_losses, self.measure + suffix)
        self.kernel = kornia_losses.MIKernel[kernel]
        self.num_bins = num_bins
        self.window_radius = window_radius

    def forward(
        self, input: Tensor, target: Tensor, input_mask: Tensor | None = None, target_mask: Tensor | None = None
    ) -> Tensor:
        """The value of each image, of the samples that both masks keep."""
        value: Tensor = self.function(
            input, target, input_mask, target_mask, self.kernel, self.num_bins, self.window_radius
        )
        return value


@losses.register("normalized_mutual_information", tags=("registration",), contract=CONTRACT)
class NormalizedMutualInformation(MutualInformation):
    """Negative normalised mutual information of the intensities of two images, between -2 and -1.

    loss = -(H(input) + H(target)) / H(input, target)
    """

    measure = "normalized_mutual_information_loss"
