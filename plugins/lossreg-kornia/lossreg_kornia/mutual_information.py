"""Mutual information of two images as modules; kornia has it as functions."""

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
        spatial_dims: number of dimensions of one image, the last ones. The result has the dimensions before them.
        kernel: spread of a sample over the bins of the histogram; "rectangular" has no gradient.
        num_bins: bins of the histogram, between an image's smallest and largest value.
        window_radius: radius of the kernel, bins.
    Shapes:
        input and target (..., sizes of spatial_dims dimensions); bool masks of the last spatial_dims dimensions;
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
        """Compute the value of each image from the samples that both masks keep."""
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
