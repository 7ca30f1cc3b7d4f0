"""Losses that wrap losses of the library, and call each with embeddings, labels and mined indices."""

from __future__ import annotations

from torch import nn

from lossreg_pml.library import Miner, PositiveInt, metric_loss

CONTRASTIVE = {"name": "pml/contrastive"}

metric_loss(
    "CrossBatchMemory",
    summary="A loss against the embeddings of past batches too.",
    tags=["composite"],
    compiles=False,
    example={"loss": CONTRASTIVE, "embedding_size": 8, "memory_size": 16},
    hints={"loss": nn.Module, "memory_size": PositiveInt, "miner": Miner | None},
)
metric_loss(
    "MultipleLosses",
    summary="Sum of losses, each with a weight and a miner of its own.",
    tags=["composite", "mixture"],
    family="weighted_sum",
    compiles=False,
    example={"losses": [CONTRASTIVE, {"name": "pml/nt_xent"}]},
    hints={
        "losses": list[nn.Module] | dict[str, nn.Module],
        "miners": list[Miner | None] | dict[str, Miner] | None,
        "weights": list[float] | dict[str, float] | None,
    },
)
metric_loss(
    "SelfSupervisedLoss",
    summary="A loss of two views of a batch, in which each row is a class of its own.",
    tags=["composite", "self_supervised"],
    target_kind="embeddings",
    needs_labels=False,
    compiles=False,
    example={"loss": {"name": "pml/nt_xent"}},
    hints={"loss": nn.Module},
)
