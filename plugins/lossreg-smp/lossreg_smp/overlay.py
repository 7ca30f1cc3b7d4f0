"""Metadata that the signatures of segmentation-models-pytorch's losses do not have: ranges, inputs and tags."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from lossreg.authoring import Library

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

TASKS = ["binary", "multilabel", "multiclass"]
EITHER = "mask or class index"

library = Library(
    "segmentation_models_pytorch",
    "segmentation-models-pytorch",
    ">=0.6,<0.7",
    modules=["segmentation_models_pytorch.losses"],
    hints={
        "mode": Literal["binary", "multiclass", "multilabel"],
        "classes": list[NonNegativeInt] | None,
        "class_weights": list[NonNegativeFloat] | None,
        "smooth": NonNegativeFloat,
        "eps": NonNegativeFloat,
        "smooth_factor": Share | None,
        "reduction": Literal["none", "mean", "sum"],
        "weight": Tensor | None,
        "pos_weight": Tensor | None,
    },
)

# Overlap of masks.
library.loss(
    "segmentation_models_pytorch.losses:DiceLoss",
    summary="Overlap as the Dice (F1) score over the whole batch; a class that is in no target costs 0.",
    tags=["binary", "imbalance", "logits", "multiclass", "multilabel", "overlap", "segmentation"],
    input="logits",
    target_kind=EITHER,
    tasks=TASKS,
    example={"mode": "binary"},
)
library.loss(
    "segmentation_models_pytorch.losses:JaccardLoss",
    summary="Overlap as intersection over union over the whole batch; a class that is in no target costs 0.",
    tags=["binary", "imbalance", "logits", "multiclass", "multilabel", "overlap", "segmentation"],
    input="logits",
    target_kind=EITHER,
    tasks=TASKS,
    example={"mode": "binary"},
)
library.loss(
    "segmentation_models_pytorch.losses:TverskyLoss",
    summary="Overlap that weighs false positives (alpha) against false negatives (beta), to the power of gamma.",
    tags=["binary", "imbalance", "logits", "multiclass", "multilabel", "overlap", "segmentation"],
    input="logits",
    target_kind=EITHER,
    tasks=TASKS,
    example={"mode": "binary"},
    hints={"alpha": NonNegativeFloat, "beta": NonNegativeFloat, "gamma": NonNegativeFloat},
)
library.loss(
    "segmentation_models_pytorch.losses:LovaszLoss",
    summary="Intersection over union through its Lovasz extension: hinge of masks, softmax of classes.",
    tags=["binary", "imbalance", "logits", "multiclass", "multilabel", "ranking", "segmentation"],
    input="logits",
    target_kind=EITHER,
    tasks=TASKS,
    family="lovasz_hinge",
    compiles=False,  # the ignored pixels and the present classes depend on the data
    example={"mode": "binary"},
    hints={"from_logits": Literal[True]},  # never read: logits are always expected
)
library.loss(
    "segmentation_models_pytorch.losses:MCCLoss",
    summary="Matthews correlation over the whole batch, of probabilities: 0 for equal masks, 2 for opposite ones.",
    tags=["binary", "imbalance", "overlap", "probabilities", "segmentation"],
    input="probabilities",
    target_kind="mask",
    tasks=["binary"],
)

# Pixel by pixel.
library.loss(
    "segmentation_models_pytorch.losses:FocalLoss",
    summary="Down-weights easy pixels by (1 - p_t)^gamma; classes count as independent masks.",
    tags=["binary", "imbalance", "logits", "multiclass", "multilabel", "pixelwise", "segmentation"],
    input="logits",
    target_kind=EITHER,
    tasks=TASKS,
    example={"mode": "binary"},
    hints={
        "alpha": Share | None,
        "gamma": NonNegativeFloat,  # the annotation allows None, the power does not
        "reduction": Literal["none", "mean", "sum", "batchwise_mean"] | None,
        "reduced_threshold": PositiveFloat | None,
    },
)
library.loss(
    "segmentation_models_pytorch.losses:SoftBCEWithLogitsLoss",
    summary="Binary cross-entropy with smoothed labels and pixels that are ignored, which stay in the mean.",
    tags=["binary", "logits", "multilabel", "pixelwise", "segmentation", "smoothing"],
    input="logits",
    target_kind="mask",
    tasks=["binary", "multilabel"],
    family="bce",
)
library.loss(
    "segmentation_models_pytorch.losses:SoftCrossEntropyLoss",
    summary="Cross-entropy with smoothed labels; smooth_factor must be given, and ignored pixels stay in the mean.",
    tags=["logits", "multiclass", "pixelwise", "segmentation", "smoothing"],
    input="logits",
    target_kind="class index",
    tasks=["multiclass"],
    family="cross_entropy",
    example={"smooth_factor": 0.0},  # the library's default, None, fails in the call
    hints={"dim": int},
)
