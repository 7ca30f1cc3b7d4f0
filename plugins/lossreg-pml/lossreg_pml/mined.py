"""A loss with its miner as one loss; the library leaves this call to the training loop."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from lossreg import losses
from lossreg.authoring import Part, contract


@losses.register(
    "mined",
    tags=("composite", "embeddings", "hard_examples", "metric_learning"),
    contract=contract(
        input="embeddings", target="labels", tasks=(), per_example=False, half_precision=False, compiles=False
    ),
    example={"loss": {"name": "pml/contrastive"}, "miner": {"name": "pml/multi_similarity"}},
)
class Mined(nn.Module):
    """A loss over the pairs or triplets that a miner chooses from the batch.

        loss(embeddings, labels, miner(embeddings, labels))

    Args:
        loss: a loss of this library, or any other of embeddings, labels and a tuple of indices.
        miner: chooses pairs (anchors, positives, anchors, negatives) or triplets (anchors, positives, negatives).
    Shapes:
        embeddings (N, D), labels (N,).
    """

    def __init__(self, loss: nn.Module, miner: Annotated[nn.Module, Part("miner")]) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = self.loss(embeddings, labels, self.miner(embeddings, labels))
        return value
