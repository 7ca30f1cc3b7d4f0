"""Overlap, focal, ranking and boundary losses of masks."""

from __future__ import annotations

from typing import Any, Literal

from lossreg_kornia.library import Count, Fraction, NonNegative, library

CLASSES: dict[str, Any] = {"tasks": ["multiclass"], "input": "logits", "target_kind": "class index"}
MASK: dict[str, Any] = {"tasks": ["binary", "multilabel"], "input": "logits", "target_kind": "mask"}

library.loss(
    "kornia.losses:DiceLoss",
    summary="Dice of all classes at once, or the mean over the present ones with average: macro.",
    tags=["segmentation", "logits", "multiclass", "overlap", "imbalance"],
    hints={"average": Literal["micro", "macro"]},
    **CLASSES,
)
library.loss(
    "kornia.losses:TverskyLoss",
    summary="Mean over the present classes of the overlap that weighs false positives and negatives.",
    tags=["segmentation", "logits", "multiclass", "overlap", "imbalance"],
    example={"alpha": 0.5, "beta": 0.5},
    hints={"alpha": NonNegative, "beta": NonNegative},
    **CLASSES,
)
library.loss(
    "kornia.losses:FocalLoss",
    summary="Cross-entropy that down-weights easy pixels; ignored ones still count in the mean.",
    tags=["segmentation", "classification", "logits", "multiclass", "pixelwise", "imbalance"],
    example={"alpha": 0.25},
    hints={"alpha": Fraction | None},
    **CLASSES,
)
library.loss(
    "kornia.losses:BinaryFocalLossWithLogits",
    "binary_focal",
    summary="Binary cross-entropy that down-weights easy pixels; ignored ones still count in the mean.",
    tags=["segmentation", "classification", "logits", "binary", "multilabel", "pixelwise", "imbalance"],
    family="focal",
    example={"alpha": 0.25},
    hints={"alpha": Fraction | None},
    **MASK,
)
library.loss(
    "kornia.losses:LovaszHingeLoss",
    summary="Intersection over union of one mask, through hinge errors.",
    tags=["segmentation", "logits", "binary", "ranking", "imbalance"],
    **{**MASK, "tasks": ["binary"], "target_kind": "mask without channels"},
)
library.loss(
    "kornia.losses:LovaszSoftmaxLoss",
    summary="Intersection over union of classes, through the errors of their probabilities.",
    tags=["segmentation", "logits", "multiclass", "ranking", "imbalance"],
    **CLASSES,
)
for cls, name, what, kind in [
    ("HausdorffERLoss", "hausdorff_er", "masks", "index map (N, 1, H, W)"),
    ("HausdorffERLoss3D", "hausdorff_er_3d", "volumes", "index map (N, 1, D, H, W)"),
]:
    library.loss(
        f"kornia.losses:{cls}",
        name,
        summary=f"Squared errors of {what} that weigh more the more erosions they survive.",
        tags=["segmentation", "probabilities", "multiclass", "boundary"],
        tasks=["multiclass"],
        input="probabilities",
        target_kind=kind,
        family="hausdorff_er",
        hints={"alpha": NonNegative, "k": Count},
        positional=True,
    )
