"""Metadata that the signatures of timm's losses do not have: ranges, inputs and tags."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from lossreg.authoring import Library

Count = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Smoothing = Annotated[float, Field(ge=0, lt=1)]
OverBatch = Literal["mean", "batchmean", "sum", "none"]

library = Library(
    "timm",
    "timm",
    ">=1.0.31,<1.1",  # patch releases of timm add features, new losses among them
    modules=["timm.loss"],
    hints={
        "smoothing": Smoothing,
        "reduction": Literal["mean", "sum", "none"],
        "weight": Tensor | None,
        "pos_weight": Tensor | None,  # a number is a tensor too
    },
)

# One class an image.
library.loss(
    "timm.loss:LabelSmoothingCrossEntropy",
    summary="Cross-entropy with smoothed labels.",
    tags=["classification", "logits", "multiclass", "smoothing"],
    input="logits",
    target_kind="class index",
    tasks=["multiclass"],
    family="cross_entropy",
)
library.loss(
    "timm.loss:SoftTargetCrossEntropy",
    summary="Cross-entropy with a distribution over the classes, as Mixup and CutMix make it.",
    tags=["classification", "logits", "multiclass"],
    input="logits",
    target_kind="probabilities",
    tasks=["multiclass"],
    family="cross_entropy",
)
library.loss(
    "timm.loss:JsdCrossEntropy",
    summary="Cross-entropy of clean images, and the Jensen-Shannon divergence between all augmentations of each.",
    tags=["classification", "logits", "mixture", "multiclass", "smoothing"],
    input="logits of the splits, one after the other",
    target_kind="class index",
    tasks=["multiclass"],
    hints={"num_splits": Count, "alpha": NonNegativeFloat, "smoothing": Smoothing | None},
)
library.loss(
    "timm.loss:AsymmetricLossSingleLabel",
    summary="Softmax cross-entropy with smoothed labels, focused by one exponent for the class and one for the others.",
    tags=["classification", "imbalance", "logits", "multiclass", "smoothing"],
    input="logits",
    target_kind="class index",
    tasks=["multiclass"],
    family="asymmetric",
    hints={
        "gamma_pos": NonNegativeFloat,
        "gamma_neg": NonNegativeFloat,
        "eps": Share,  # of label smoothing
        "reduction": Literal["mean", "none"],  # the code treats any other text as "none"
    },
)
library.loss(
    "timm.loss:PolyCrossEntropy",
    summary="Softmax cross-entropy with another weight of 1 - p_t, its first power.",
    tags=["classification", "logits", "multiclass", "smoothing"],
    input="logits",
    target_kind="class index",
    tasks=["multiclass"],
    family="poly1",
)

# Any number of classes an image.
library.loss(
    "timm.loss:BinaryCrossEntropy",
    summary="Binary cross-entropy of each class, from class indices with smoothing or from labels of every class.",
    tags=["classification", "logits", "multiclass", "multilabel", "smoothing"],
    input="logits",
    target_kind="class index or multi-hot labels",
    tasks=["multilabel", "multiclass"],
    family="bce",
)
library.loss(
    "timm.loss:AsymmetricLossMultiLabel",
    summary="Binary cross-entropy with a focusing exponent of its own for negatives; the easiest negatives cost 0.",
    tags=["classification", "imbalance", "logits", "multilabel", "smoothing"],
    input="logits",
    target_kind="multi-hot labels",
    tasks=["multilabel"],
    family="asymmetric",
    hints={
        "gamma_neg": NonNegativeFloat,
        "gamma_pos": NonNegativeFloat,
        "clip": Share | None,
        "eps": PositiveFloat,
        "reduction": OverBatch,
    },
)
library.loss(
    "timm.loss:PolyBinaryCrossEntropy",
    summary="Binary cross-entropy, or focal loss, with another weight of 1 - p_t, its first power.",
    tags=["classification", "imbalance", "logits", "multilabel", "smoothing"],
    input="logits",
    target_kind="multi-hot labels",
    tasks=["multilabel"],
    family="poly1",
    hints={"gamma": NonNegativeFloat, "alpha": Share | None, "reduction": OverBatch},
)
library.loss(
    "timm.loss:TwoWayLoss",
    summary="Smooth maximum of negatives against that of positives, over an image's classes and a class's images.",
    tags=["classification", "hard_examples", "logits", "multilabel", "ranking"],
    input="logits",
    target_kind="multi-hot labels",
    tasks=["multilabel"],
    hints={"tp": PositiveFloat, "tn": PositiveFloat},
)
library.loss(
    "timm.loss:ZlprLoss",
    summary="Ranks all classes of an image above 0 and above all others: softmax cross-entropy for several labels.",
    tags=["classification", "logits", "multilabel", "ranking"],
    input="logits",
    target_kind="multi-hot labels",
    tasks=["multilabel"],
)
library.loss(
    "timm.loss:DistributionBalancedLoss",
    summary="Focal loss for a long tail of labels that occur together, weighed by how often each class does.",
    tags=["classification", "imbalance", "logits", "multilabel", "smoothing"],
    input="logits",
    target_kind="multi-hot labels",
    tasks=["multilabel"],
    example={"class_counts": [10, 40, 5, 20, 25], "num_samples": 100},
    hints={
        "class_counts": Annotated[list[NonNegativeFloat], Field(min_length=1)],
        "num_samples": Annotated[int, Field(ge=2)],
        "neg_scale": PositiveFloat,
        "focal_gamma": NonNegativeFloat,
        "reduction": OverBatch,
    },
)
