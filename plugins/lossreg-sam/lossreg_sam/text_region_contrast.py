"""Text-region alignment: the contrast of regions and texts of a batch, in both directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from lossreg import Loss, Term, losses
from lossreg.authoring import Reduction, contract
from lossreg_sam.alignment import MAX_SCALE, contrast, read_pairs
from lossreg_sam.pairs_over_ranks import first_number, pairs_over_ranks
from lossreg_segmentation.distributed import Distributed, check_distributed, means_over_ranks

Temperature = Annotated[float, Field(ge=1 / MAX_SCALE)]


@losses.register(
    "text_region_contrast",
    aliases=("text_region_contrast_loss",),
    tags=("sam", "alignment", "embeddings"),
    # A pair's value depends on the other pairs: halves of a batch do not average to the whole.
    contract=contract(input="embeddings of regions", target="embeddings of texts", tasks=[], per_example=False),
)
class TextRegionContrast(Loss):
    r"""InfoNCE between regions and texts, both ways, with several positives.

        loss_i = -1/2 mean_{j in P_i} (log softmax_j(r_i . t_j / temperature) + log softmax_j(t_i . r_j / temperature))
        P_i: the pairs with the caption of pair i;  r, t of length 1

    Math:
        L_i = -\frac{1}{2\, |P_i|} \sum_{j \in P_i} \left( \log \frac{e^{r_i \cdot t_j / \tau}}{\sum_k e^{r_i \cdot
            t_k / \tau}} + \log \frac{e^{t_i \cdot r_j / \tau}}{\sum_k e^{t_i \cdot r_k / \tau}} \right)
        where $r_i$ and $t_i$ are the embeddings of region $i$ and of its text, scaled to length 1, $P_i$ are the pairs
        with the caption of pair $i$ and $\tau$ is `temperature` (0.07).
    Args:
        temperature: divisor of the similarities, at least 1/100, dimensionless.
        learnable_temperature: train the temperature, from this value on, as logit_scale = -log temperature.
            Give the loss's parameters to the optimiser. Beyond the bound the gradient is kept, so that it can return.
        distributed: "global": the contrast with the pairs of all ranks, uneven and empty batches included; the ranks'
            losses and gradients average to those of the whole batch. With gradients off, as in validation, and with
            "local": each rank by itself.
        reduction: over pairs: "mean", "sum", or "none" for (N,).
    Shapes:
        region (N, D), text (N, D); optional caption (N,) integer, equal for texts of one meaning (by default all
        differ), and valid (N,) bool, False for regions without pixels.
        terms: {"text_region_contrast": (N,)}, nats. An invalid pair is in no sum; its value is 0 and stays in
        the mean.
    Raises:
        ShapeError: sizes differ; nothing is broadcast.
    Numerics: float32 or wider; vectors shorter than 1/256, zero included, are scaled by at most 256, which keeps
        gradients finite; a single pair costs 0. With "global" the host synchronises once, for the largest batch.
    Source: Radford et al. 2021, figure 3; several positives as in Yang et al. 2022 (UniCL).
    """

    logit_scale: nn.Parameter | None
    meaningless: ClassVar[Mapping[str, str]] = {"weight": "it compares embeddings, which have no pixels"}

    def __init__(
        self,
        *,
        temperature: Temperature = 0.07,
        learnable_temperature: bool = False,
        distributed: Distributed = "local",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        check_distributed(distributed, reduction)
        self.temperature = temperature
        self.distributed = distributed
        start = nn.Parameter(torch.tensor(-math.log(temperature))) if learnable_temperature else None
        self.register_parameter("logit_scale", start)

    def terms(
        self, region: Tensor, text: Tensor, caption: Tensor | None = None, valid: Tensor | None = None
    ) -> dict[str, Term]:
        """Compute the contrast of each pair, and the mean over ranks."""
        terms = {"text_region_contrast": Term(self.values(region, text, caption, valid), "example")}
        return means_over_ranks(terms, region) if self.distributed == "global" else terms

    def values(self, region: Tensor, text: Tensor, caption: Tensor | None, valid: Tensor | None) -> Tensor:
        """Compute the contrast of each pair, (N,)."""
        shared = self.distributed == "global"
        first = first_number(shared=shared)
        own = read_pairs(region, text, caption, valid, empty_batch=shared, first=first)
        return contrast(own, pairs_over_ranks(own) if shared else own, self._scale(own.region.dtype))

    def _scale(self, dtype: torch.dtype) -> Tensor | float:
        if self.logit_scale is None:
            return min(1 / self.temperature, MAX_SCALE)
        given = self.logit_scale.to(dtype)
        # Bound the value and not the gradient: clamp would leave a parameter beyond the bound without a gradient.
        return (given + (given.clamp(max=math.log(MAX_SCALE)) - given).detach()).exp()
