"""Overlap, focal, topology and boundary losses of masks, and their mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from lossreg_monai.library import Fraction, NonNegative, library

TASKS = ("binary", "multilabel", "multiclass")
# The others read numbers from tensors, such as the axes of a sum or the classes in the target.
COMPILE = {"GeneralizedWassersteinDiceLoss", "FocalLoss", "SoftclDiceLoss", "NACLLoss"}
COMPILE |= {f"monai.losses.unified_focal_loss:Asymmetric{term}Loss" for term in ("Focal", "FocalTversky")}


def masks(
    cls: str,
    summary: str,
    tags: Sequence[str],
    *,
    tasks: Sequence[str] = TASKS,
    input: str = "probabilities",
    target: str = "mask",
    **metadata: Any,
) -> None:
    """Declare a loss of masks; its tasks, its input and "segmentation" are among its tags."""
    library.loss(
        cls if ":" in cls else f"monai.losses:{cls}",
        summary=summary,
        tags=["segmentation", input, *tasks, *tags],
        tasks=tasks,
        input=input,
        target_kind=target,
        compiles=cls in COMPILE,
        **metadata,
    )


# Probabilities are the input by default; sigmoid, softmax or other_act make it logits.
masks("DiceLoss", "Dice score; one class per channel, or class indices with to_onehot_y.", ["overlap", "imbalance"])
masks(
    "MaskedDiceLoss",
    "Dice inside a region given with each call; the mask acts after the activation.",
    ["overlap", "imbalance"],
)
masks(
    "GeneralizedDiceLoss",
    "One Dice over all classes, each weighed by the inverse of its volume or its square.",
    ["overlap", "imbalance"],
    hints={"w_type": Literal["square", "simple", "uniform"]},
)
masks(
    "GeneralizedWassersteinDiceLoss",
    "Dice in which a mistake counts by the distance between the two classes.",
    ["overlap", "imbalance"],
    tasks=["multiclass"],
    input="logits",
    target="class index",
    family="wasserstein_dice",
    example={"dist_matrix": [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]},
    hints={"dist_matrix": Tensor, "weighting_mode": Literal["default", "GDL"]},
)
masks(
    "TverskyLoss",
    "Overlap that weighs false positives by alpha and false negatives by beta.",
    ["overlap", "imbalance"],
    hints={"alpha": NonNegative, "beta": NonNegative},
)
masks("MCCLoss", "Matthews correlation of soft masks.", ["overlap", "imbalance"])

masks(
    "FocalLoss",
    "Down-weight easy pixels; with use_softmax, too, the mean is over pixels and classes.",
    ["pixelwise", "imbalance"],
    input="logits",
    hints={"alpha": Fraction | list[Fraction] | None},
)
masks(
    "monai.losses.unified_focal_loss:AsymmetricFocalLoss",
    "Cross-entropy of two channels that down-weights easy background alone.",
    ["pixelwise", "imbalance"],
    tasks=["binary"],
    target="one-hot mask",
    hints={"delta": Fraction},
)
masks(
    "monai.losses.unified_focal_loss:AsymmetricFocalTverskyLoss",
    "Tversky of two channels, the foreground's raised to the power 1 - gamma.",
    ["overlap", "imbalance"],
    tasks=["binary"],
    target="one-hot mask",
    hints={"delta": Fraction, "gamma": Fraction},
)
masks(
    "AsymmetricUnifiedFocalLoss",
    "Asymmetric focal plus asymmetric focal Tversky; of the classes it counts the first two.",
    ["mixture", "overlap", "pixelwise", "imbalance"],
    tasks=["binary"],
    family="unified_focal",
    # The result is one value, the mean of both terms, under every reduction.
    hints={"reduction": None, "weight": Fraction, "gamma": Fraction, "delta": Fraction},
)

# By default a mixture's Dice applies no activation, but its other term takes logits: the example fits both.
LOGITS: dict[str, Any] = {"input": "logits", "target": "one-hot mask"}
masks(
    "DiceCELoss",
    "Dice plus cross-entropy of logits; sigmoid or softmax is for the Dice alone.",
    ["mixture", "overlap", "pixelwise", "imbalance"],
    example={"softmax": True},
    hints={"reduction": Literal["mean", "sum"]},
    **LOGITS,
)
masks(
    "DiceFocalLoss",
    "Dice plus focal of logits; sigmoid or softmax is for the Dice alone.",
    ["mixture", "overlap", "pixelwise", "imbalance"],
    example={"sigmoid": True},
    hints={"alpha": Fraction | None},
    **LOGITS,
)
masks(
    "GeneralizedDiceFocalLoss",
    "Generalised Dice plus focal of logits; sigmoid or softmax is for the Dice alone.",
    ["mixture", "overlap", "pixelwise", "imbalance"],
    example={"sigmoid": True},
    hints={"w_type": Literal["square", "simple", "uniform"]},
    **LOGITS,
)

masks(
    "SoftclDiceLoss",
    "Overlap of each mask's soft skeleton with the other mask, summed over all channels.",
    ["topology", "imbalance"],
    name="soft_cldice",
    family="cldice",
    positional=True,
)
masks(
    "SoftDiceclDiceLoss",
    "Dice and soft clDice, mixed by alpha.",
    ["mixture", "overlap", "topology", "imbalance"],
    name="soft_dice_cldice",
    family="dice_cldice",
    hints={"alpha": Fraction},
    positional=True,
)
masks(
    "BoundaryLoss",
    "Mean of p times the signed distance to the target's boundary.",
    ["boundary", "imbalance"],
    positional=True,
)
for cls, summary in [
    ("HausdorffDTLoss", "Squared errors weighed by their distance to both boundaries; skips the first class."),
    ("LogHausdorffDTLoss", "Logarithm of one plus the Hausdorff distance transform loss; skips the first class."),
]:
    masks(cls, summary, ["boundary"], hints={"alpha": NonNegative}, positional=True)
masks(
    "NACLLoss",
    "Cross-entropy, and a penalty for logits far from the class shares of the neighbouring pixels.",
    ["pixelwise", "calibration"],
    tasks=["multiclass"],
    input="logits",
    target="class index",
    example={"classes": 3, "dim": 2},
    hints={
        "dim": Literal[2, 3],
        "kernel_ops": Literal["mean", "gaussian"],
        "distance_type": Literal["l1", "l2"],
        "alpha": NonNegative,
    },
    positional=True,
)
library.loss(
    "monai.apps.pathology.losses:HoVerNetLoss",
    "hovernet",
    summary="Dice, cross-entropy and map regression of HoVer-Net's branches, given as two dicts by branch.",
    tags=["segmentation", "logits", "multiclass", "mixture", "overlap", "pixelwise", "regression"],
    tasks=["multiclass"],
    input="logits and maps by branch",
    target_kind="masks and maps by branch",
    compiles=False,
    hints=dict.fromkeys(
        [f"lambda_{term}" for term in ("hv_mse", "hv_mse_grad", "np_ce", "np_dice", "nc_ce", "nc_dice")],
        Annotated[float, Field(ge=0)],
    ),
)
