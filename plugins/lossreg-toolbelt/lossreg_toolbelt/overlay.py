"""Metadata that the signatures of pytorch-toolbelt's losses do not have: ranges, inputs and tags."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from lossreg.authoring import Library

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]

TASKS = ["binary", "multilabel", "multiclass"]
EITHER = "mask or class index"
REDUCTIONS = Literal["none", "mean", "sum"]
FOCAL_REDUCTIONS = Literal["none", "mean", "sum", "batchwise_mean"]

library = Library(
    "pytorch_toolbelt",
    "pytorch-toolbelt",
    ">=0.8,<0.9",
    modules=["pytorch_toolbelt.losses"],
    hints={
        "mode": Literal["binary", "multiclass", "multilabel"],
        "classes": Tensor | None,  # for a list the library allocates an array of its length and never fills it
        "class_weights": Tensor | None,
        "ignore_index": int | None,
        "smooth": NonNegativeFloat,
        "eps": NonNegativeFloat,
        "gamma": NonNegativeFloat,
        "reduction": REDUCTIONS,
    },
)

# Overlap of masks.
library.loss(
    "pytorch_toolbelt.losses:DiceLoss",
    summary="Overlap as the Dice (F1) score over the whole batch; a class that is in no target costs 0.",
    tags=["binary", "imbalance", "logits", "multiclass", "multilabel", "overlap", "segmentation"],
    input="logits",
    target_kind=EITHER,
    tasks=TASKS,
    example={"mode": "binary"},
)
library.loss(
    "pytorch_toolbelt.losses:JaccardLoss",
    summary="Overlap as intersection over union over the whole batch; a class that is in no target costs 0.",
    tags=["binary", "imbalance", "logits", "multiclass", "multilabel", "overlap", "segmentation"],
    input="logits",
    target_kind=EITHER,
    tasks=TASKS,
    example={"mode": "binary"},
)
library.loss(
    "pytorch_toolbelt.losses:BinaryLovaszLoss",
    summary="Intersection over union of a mask through the Lovasz extension of its hinge.",
    tags=["binary", "imbalance", "logits", "ranking", "segmentation"],
    input="logits",
    target_kind="mask",
    tasks=["binary"],
    family="lovasz_hinge",
    compiles=False,  # the ignored pixels depend on the data
)
library.loss(
    "pytorch_toolbelt.losses:LovaszLoss",
    summary="Intersection over union of classes through its Lovasz extension, of probabilities and not of logits.",
    tags=["imbalance", "multiclass", "probabilities", "ranking", "segmentation"],
    input="probabilities",
    target_kind="class index",
    tasks=["multiclass"],
    family="lovasz_softmax",
    compiles=False,  # the present classes depend on the data
    hints={"ignore": int | None},
)
library.loss(
    "pytorch_toolbelt.losses:BinarySoftF1Loss",
    "binary_soft_f1",
    summary="F1 score of all examples and pixels at once, with probabilities in place of decisions.",
    tags=["binary", "classification", "imbalance", "logits", "overlap", "segmentation"],
    input="logits",
    target_kind="mask",
    tasks=["binary"],
    family="soft_f1",
    hints={"eps": Annotated[float, Field(ge=0, le=0.5)]},  # probabilities are kept within eps and 1 - eps
)
library.loss(
    "pytorch_toolbelt.losses:SoftF1Loss",
    "soft_f1",
    summary="Mean over classes of the F1 score of a batch of labels, with probabilities in place of decisions.",
    tags=["classification", "imbalance", "logits", "multiclass", "overlap"],
    input="logits",
    target_kind="label",
    tasks=["multiclass"],
    hints={
        "eps": Annotated[float, Field(ge=0, le=0.5)],
        "ignore_index": None,  # compared with one-hot targets of 0 and 1, so that no label is ever ignored
    },
)

# Pixel by pixel.
library.loss(
    "pytorch_toolbelt.losses:BinaryFocalLoss",
    summary="Down-weights easy pixels by (1 - p_t)^gamma; classes count as independent masks.",
    tags=["binary", "imbalance", "logits", "multiclass", "multilabel", "pixelwise", "segmentation"],
    input="logits",
    target_kind=EITHER,
    tasks=TASKS,
    family="focal",
    hints={
        "alpha": Share | None,
        "reduction": FOCAL_REDUCTIONS,
        "reduced_threshold": ShareBelowOne | None,  # the focal term divides by 1 - reduced_threshold
        "activation": Literal["sigmoid", "softmax"],
    },
)
library.loss(
    "pytorch_toolbelt.losses:CrossEntropyFocalLoss",
    summary="Focal term of the softmax on the binary cross-entropy of each class; ignored pixels stay in the mean.",
    tags=["imbalance", "logits", "multiclass", "pixelwise", "segmentation"],
    input="logits",
    target_kind="class index",
    tasks=["multiclass"],
    family="focal",
    hints={
        "ignore_index": int,  # None cannot be compared
        "reduction": FOCAL_REDUCTIONS,
        "reduced_threshold": PositiveFloat | None,  # the focal term divides by it
    },
)
library.loss(
    "pytorch_toolbelt.losses:QualityFocalLoss",
    summary="Binary cross-entropy with soft targets, times their distance from the probability to the power of beta.",
    tags=["binary", "classification", "imbalance", "logits", "multilabel", "pixelwise", "segmentation"],
    input="logits",
    target_kind="mask",
    tasks=["binary", "multilabel"],
    hints={"beta": NonNegativeFloat, "reduction": Literal["none", "mean", "sum", "normalized"]},
)
library.loss(
    "pytorch_toolbelt.losses:BalancedBCEWithLogitsLoss",
    summary="Binary cross-entropy in which each of the two classes weighs by the other's share of the batch.",
    tags=["binary", "imbalance", "logits", "multilabel", "pixelwise", "segmentation"],
    input="logits",
    target_kind="mask",
    tasks=["binary", "multilabel"],
    family="balanced_bce",
)
library.loss(
    "pytorch_toolbelt.losses:SoftBCEWithLogitsLoss",
    summary="Binary cross-entropy with smoothed labels and pixels that are ignored, which stay in the mean.",
    tags=["binary", "logits", "multilabel", "pixelwise", "segmentation", "smoothing"],
    input="logits",
    target_kind="mask",
    tasks=["binary", "multilabel"],
    family="bce",
    hints={"weight": Tensor | None, "pos_weight": Tensor | None, "smooth_factor": Share | None},
)
library.loss(
    "pytorch_toolbelt.losses:SoftCrossEntropyLoss",
    summary="Cross-entropy with smoothed labels; ignored pixels stay in the mean.",
    tags=["logits", "multiclass", "pixelwise", "segmentation", "smoothing"],
    input="logits",
    target_kind="class index",
    tasks=["multiclass"],
    family="cross_entropy",
    hints={"smooth_factor": Share, "dim": int},
)

# Noisy labels. The ranges of the temperatures keep both logarithms finite.
TEMPERATURES = {
    "t1": Annotated[float, Field(ge=0, lt=2)],
    "t2": PositiveFloat,
    "smoothing": ShareBelowOne,
}
library.loss(
    "pytorch_toolbelt.losses:BiTemperedLogisticLoss",
    "bi_tempered_logistic",
    summary="Cross-entropy of a heavy-tailed softmax (t2 above 1) by a bounded logarithm (t1 below 1).",
    tags=["classification", "logits", "multiclass", "smoothing"],
    input="logits",
    target_kind="label",
    tasks=["multiclass"],
    family="bi_tempered",
    example={"t1": 0.8, "t2": 1.2},
    hints={
        **TEMPERATURES,
        "ignore_index": NonNegativeInt | None,
    },  # labels become one-hot before they are compared with it
)
library.loss(
    "pytorch_toolbelt.losses:BinaryBiTemperedLogisticLoss",
    "binary_bi_tempered_logistic",
    summary="Bi-tempered logistic loss of one mask: heavy tails by t2 above 1, bounded by t1 below 1.",
    tags=["binary", "logits", "pixelwise", "segmentation", "smoothing"],
    input="logits",
    target_kind="mask",
    tasks=["binary"],
    family="bi_tempered",
    example={"t1": 0.8, "t2": 1.2},
    hints=TEMPERATURES,
)

# Labels and values.
library.loss(
    "pytorch_toolbelt.losses:FocalCosineLoss",
    summary="Cosine distance from the one-hot label, plus xent times the focal loss of normalised logits.",
    tags=["classification", "imbalance", "logits", "mixture", "multiclass"],
    input="logits",
    target_kind="label",
    tasks=["multiclass"],
    hints={
        "alpha": NonNegativeFloat,
        "xent": NonNegativeFloat,
        "reduction": Literal["none", "mean"],  # "sum" adds one number to one per example
    },
)
library.loss(
    "pytorch_toolbelt.losses:LogCoshLoss",
    summary="Logarithm of the hyperbolic cosine of the difference: squared when small, absolute when large.",
    tags=["regression"],
    input="values",
    target_kind="values",
)
library.loss(
    "pytorch_toolbelt.losses:WingLoss",
    summary="Logarithmic within width of the target and absolute beyond, for the coordinates of landmarks.",
    tags=["regression"],
    input="values",
    target_kind="values",
    hints={"width": PositiveFloat, "curvature": PositiveFloat},
)
