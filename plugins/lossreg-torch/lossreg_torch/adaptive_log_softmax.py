"""torch.nn.AdaptiveLogSoftmaxWithLoss as a loss: it returns one tensor."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lossreg import losses
from lossreg.authoring import contract

Count = Annotated[int, Field(ge=1)]


@losses.register(
    "adaptive_log_softmax",
    aliases=("AdaptiveLogSoftmaxWithLoss",),
    tags=("classification", "embeddings", "imbalance", "learnable", "multiclass"),
    contract=contract(
        input="embeddings",
        target="class index",
        tasks=["multiclass"],
        has_parameters=True,
        per_example=False,
        half_precision=False,
        compiles=False,  # the clusters with examples depend on the data
    ),
    example={"in_features": 16, "n_classes": 20, "cutoffs": [5, 10]},
)
class AdaptiveLogSoftmax(nn.AdaptiveLogSoftmaxWithLoss):
    """Cross-entropy over very many classes, with smaller embeddings for rare ones.

    The class of torch.nn returns the log-probabilities as well; this one returns the loss alone. `log_prob` and
    `predict` are those of torch.nn.

    Args:
        in_features: size of an embedding.
        n_classes: number of classes, sorted from frequent to rare.
        cutoffs: first class of each cluster after the head, ascending, each from 1 to n_classes - 1.
        div_value: factor by which each cluster's embeddings are smaller than those of the cluster before.
        head_bias: whether the scores of the first cluster have a bias.
    """

    def __init__(
        self,
        in_features: Count,
        n_classes: Count,
        cutoffs: Annotated[list[Count], Field(min_length=1)],
        div_value: Annotated[float, Field(gt=0)] = 4.0,
        head_bias: bool = False,
    ) -> None:
        super().__init__(in_features, n_classes, cutoffs, div_value, head_bias)

    def forward(self, input_: Tensor, target_: Tensor) -> Tensor:  # type: ignore[override]
        """Compute the mean negative log-likelihood.

        Args:
            input_: embeddings (N, in_features).
            target_: class index (N,).
        """
        loss: Tensor = super().forward(input_, target_).loss
        return loss
