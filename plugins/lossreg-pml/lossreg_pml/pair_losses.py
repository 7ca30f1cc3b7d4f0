"""Losses over the pairs and triplets of a batch, chosen by their labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from lossreg_pml.library import Fraction, PositiveFloat, PositiveInt, library, metric_loss

TripletsPerAnchor = PositiveInt | Literal["all"]  # a number samples them at random


def pair_loss(cls: str, name: str | None = None, *, summary: str, **more: Any) -> None:
    """Declare a loss that finds the pairs of a batch; their number depends on the data, so it does not compile."""
    metric_loss(cls, name, summary=summary, compiles=False, **more)


# ---- a margin for each pair or triplet

pair_loss(
    "ContrastiveLoss", summary="Distance of positive pairs beyond one margin, of negative pairs short of another."
)
pair_loss(
    "SignalToNoiseRatioContrastiveLoss",
    summary="Contrastive loss of the variance of the difference over that of the anchor.",
)
pair_loss(
    "TripletMarginLoss",
    summary="Distance to a positive, plus a margin, beyond that to a negative.",
    hints={"triplets_per_anchor": TripletsPerAnchor},
)
pair_loss(
    "MarginLoss",
    summary="Margin on both sides of a boundary between positive and negative distances, learned if learn_beta is set.",
    hints={"triplets_per_anchor": TripletsPerAnchor},
)
pair_loss("TupletMarginLoss", summary="Softmax of a positive, its angle less a margin, against all negatives.")
pair_loss(
    "AngularLoss",
    summary="Bound on the angle at the negative in each triplet, in degrees.",
    hints={"alpha": Annotated[float, Field(gt=0, lt=90)]},
)
pair_loss("IntraPairVarianceLoss", summary="Spread of the similarities of positive pairs, and of negative ones.")
pair_loss(
    "ThresholdConsistentMarginLoss",
    summary="Similarities of positives below, and of negatives above, one threshold for all classes.",
)
library.loss(
    # Our subclass: its docstring has the reason.
    "lossreg_pml.dynamic_soft_margin:DynamicSoftMarginLoss",
    summary="Triplet differences weighed by their rank among those of past batches.",
    tags=["embeddings", "metric_learning"],
    input="embeddings",
    target_kind="labels",
    compiles=False,
    hints={"min_val": Annotated[float, Field(lt=0)], "momentum": Fraction},
)

# ---- all pairs of an anchor at once

pair_loss("LiftedStructureLoss", summary="Each positive pair against the smooth maximum of all negatives of both ends.")
pair_loss(
    "GeneralizedLiftedStructureLoss",
    summary="Smooth maximum of an anchor's positive distances against that of its negative ones.",
)
pair_loss(
    "MultiSimilarityLoss",
    summary="Smooth maxima of an anchor's dissimilar positives and of its similar negatives.",
    hints={"alpha": PositiveFloat, "beta": PositiveFloat},
)
pair_loss(
    "CircleLoss", summary="Similarities of positives and negatives, each weighed by how far it is off its optimum."
)
pair_loss("NPairsLoss", summary="Softmax of one positive against the positives of all other classes.")
pair_loss(
    "NTXentLoss",
    summary="InfoNCE: cross-entropy of each positive against all negatives of its anchor.",
    tags=["self_supervised"],
    family="info_nce",
)
pair_loss(
    "SupConLoss",
    "supcon",
    summary="Supervised contrast: mean log-probability of an anchor's positives among all others.",
    tags=["self_supervised"],
)
metric_loss("NCALoss", summary="Neighbourhood components analysis: log-probability of neighbours of the same class.")
metric_loss(
    "InstanceLoss", summary="Cross-entropy of the similarities within a batch against the index of the label there."
)

# ---- two views, no labels

library.loss(
    "pytorch_metric_learning.losses:VICRegLoss",
    "vicreg",
    summary="Equal views, spread dimensions, no correlation between them; called with ref_emb, and no labels.",
    tags=["embeddings", "self_supervised"],
    input="embeddings",
    target_kind="embeddings",
    needs_labels=False,
    # The constructor rejects these, even as None.
    hints={"eps": PositiveFloat, "distance": None, "embedding_regularizer": None, "embedding_reg_weight": None},
)
