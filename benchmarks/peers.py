"""The losses of other libraries and of plain torch.

Every loss is called as in training: float logits and the target of the data set, uint8 masks or class indices. A loss
that needs float masks converts them itself, within its time.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LossFunction = Callable[..., Tensor]
ALPHA, GAMMA, SMOOTH = 0.25, 2.0, 1.0  # the defaults of ours
SMP_SMOOTH = {"smooth": SMOOTH / 2}  # beside half of the sums
OVER_BATCH = "sums over the batch"


class Peer(NamedTuple):
    """A loss to time, or the reason why it is missing."""

    name: str
    loss: LossFunction | None
    problem: str = ""
    ours: bool = False
    differs: str = ""  # why its definition gives another value


NO_KORNIA_DICE = Peer("kornia Dice", None, "no binary form: softmax over at least two classes")


def versions() -> list[str]:
    """Return the versions of all timed packages."""
    found = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    packages = ("lossreg", "lossreg-segmentation", "lossreg-sam", "numba", "triton", "monai", "kornia")
    for package in (*packages, "segmentation-models-pytorch"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {package}")
    return found


def with_compiled(name: str, loss: LossFunction) -> list[Peer]:
    """Return a loss in plain torch, eager and compiled: without graph breaks, for this one shape."""
    compiled = torch.compile(loss, fullgraph=True, dynamic=False)
    return [Peer(f"{name}, eager", loss), Peer(f"{name}, compiled", compiled)]


def imported(
    name: str,
    module: str,
    attribute: str,
    options: dict[str, Any],
    adapt: Callable[[Any], LossFunction] = lambda f: f,
    differs: str = "",
) -> list[Peer]:
    """Return a loss of a package, which may be missing. `adapt` converts the target for the package."""
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, RuntimeError) as error:
        return [Peer(name, None, f"not importable: {error}")]
    return [Peer(name, adapt(found(**options)), differs=differs)]


def from_smp(
    name: str,
    attribute: str,
    options: dict[str, Any],
    adapt: Callable[[Any], LossFunction] = lambda f: f,
    differs: str = "",
) -> list[Peer]:
    """Return a loss of segmentation-models-pytorch. It imports torchvision, some of whose wheels do not load."""
    spec = importlib.util.find_spec("torchvision")
    if spec and spec.origin and not hasattr(torch.ops.torchvision, "nms"):
        try:
            torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
        except OSError:  # a wheel for GPUs on a machine without one; no loss calls its operators, but imports name them
            for operator in ("nms", "qnms"):
                schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                torch.library.define(f"torchvision::{operator}", schema)
    return imported(f"smp {name}", "segmentation_models_pytorch.losses", attribute, options, adapt, differs)


def mixture_peers() -> list[Peer]:
    """Return peers of cross-entropy, Dice and focal. MONAI has only the last two, smp all three as single losses."""
    options = {"sigmoid": True, "alpha": ALPHA, "gamma": GAMMA, "smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
    return [
        *with_compiled("torch", bce_dice_focal),
        *imported("MONAI DiceFocal", "monai.losses", "DiceFocalLoss", options, differs="no BCE"),
        *from_smp("Dice + Focal", "DiceLoss", {"mode": "binary"} | SMP_SMOOTH, smp_mixture, f"{OVER_BATCH}, no BCE"),
        NO_KORNIA_DICE,
    ]


def dice_peers() -> list[Peer]:
    """Return peers of Dice of one mask."""
    options = {"sigmoid": True, "smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
    return [
        *with_compiled("torch", dice),
        *imported("MONAI Dice", "monai.losses", "DiceLoss", options),
        *from_smp("Dice", "DiceLoss", {"mode": "binary"} | SMP_SMOOTH, differs=OVER_BATCH),
        NO_KORNIA_DICE,
    ]


def focal_peers() -> list[Peer]:
    """Return peers of the focal loss of one mask, mean over pixels."""
    options: dict[str, Any] = {"alpha": ALPHA, "gamma": GAMMA}
    pixel_mean = options | {"reduction": "mean", "ignore_index": None}
    return [
        *with_compiled("torchvision's way", focal),
        *imported("kornia BinaryFocal", "kornia.losses", "BinaryFocalLossWithLogits", pixel_mean),
        *imported("MONAI Focal", "monai.losses", "FocalLoss", options),
        *from_smp("Focal", "FocalLoss", options | {"mode": "binary"}),
    ]


def multiclass_peers() -> list[Peer]:
    """Return peers of softmax Dice over all classes, plus cross-entropy."""
    options: dict[str, Any] = {"softmax": True, "to_onehot_y": True, "include_background": True}
    options |= {"smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
    classes = {"mode": "multiclass"} | SMP_SMOOTH
    return [
        *with_compiled("torch", dice_cross_entropy),
        *imported("MONAI DiceCE", "monai.losses", "DiceCELoss", options, with_channel),
        *imported(
            "kornia Dice + CE", "kornia.losses", "DiceLoss", {"average": "macro"}, plus_cross_entropy, "no smoothing"
        ),
        *from_smp("Dice + CE", "DiceLoss", classes, plus_cross_entropy, OVER_BATCH),
    ]


def sam_peers() -> list[Peer]:
    """Return SAM 2's formulas for one step, which no library has."""
    return with_compiled("SAM 2", sam2)


def bce_peers() -> list[Peer]:
    """Return torch's own cross-entropy of masks."""
    return with_compiled("torch", bce)


def with_channel(loss: LossFunction) -> LossFunction:
    """Pass class indices with a channel."""
    return lambda logits, index: loss(logits, index.unsqueeze(1))


def plus_cross_entropy(loss: LossFunction) -> LossFunction:
    """Add torch's cross-entropy, as both libraries' users do."""
    return lambda logits, index: loss(logits, index) + functional.cross_entropy(logits, index)


def smp_mixture(dice_loss: LossFunction) -> LossFunction:
    """Add smp's focal loss to its Dice, with the weights of ours."""
    losses = importlib.import_module("segmentation_models_pytorch.losses")
    focal_loss = losses.FocalLoss("binary", alpha=ALPHA, gamma=GAMMA)
    return lambda logits, masks: 0.4 * dice_loss(logits, masks) + 0.2 * focal_loss(logits, masks)


def bce(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the binary cross-entropy."""
    return functional.binary_cross_entropy_with_logits(logits, masks.float())


def focal_of_pixels(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the focal loss per pixel, in the steps of fvcore, torchvision and SAM 2."""
    p = torch.sigmoid(logits)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    p_t = p * masks + (1 - p) * (1 - masks)
    alpha_t = ALPHA * masks + (1 - ALPHA) * (1 - masks)
    return alpha_t * (cross_entropy * (1 - p_t) ** GAMMA)


def dice_of_masks(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice loss per mask, (N, C)."""
    p, t = torch.sigmoid(logits).flatten(2), masks.flatten(2)
    return 1 - (2 * (p * t).sum(-1) + SMOOTH) / (p.sum(-1) + t.sum(-1) + SMOOTH)


def focal(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean focal loss."""
    return focal_of_pixels(logits, masks.float()).mean()


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean Dice loss."""
    return dice_of_masks(logits, masks.float()).mean()


def bce_dice_focal(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mixture with the default weights of ours."""
    t = masks.float()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, t)
    return 0.4 * cross_entropy + 0.4 * dice_of_masks(logits, t).mean() + 0.2 * focal_of_pixels(logits, t).mean()


def sam2(logits: Tensor, masks: Tensor, predicted_iou: Tensor) -> Tensor:
    """Return focal, Dice and the error of the predicted IoU, 20:1:1, with a float target for each of the M masks."""
    t = masks.unsqueeze(1).float().expand_as(logits)
    pixels = focal_of_pixels(logits, t).flatten(2).mean(-1)
    predicted, actual = logits.flatten(2) > 0, t.flatten(2) > 0
    intersection = (predicted & actual).sum(-1).float()
    union = (predicted | actual).sum(-1).float()
    iou = intersection / torch.clamp(union, min=1.0)
    return 20 * pixels.mean() + dice_of_masks(logits, t).mean() + functional.mse_loss(predicted_iou, iou)


def dice_cross_entropy(logits: Tensor, index: Tensor) -> Tensor:
    """Return softmax Dice over all classes, plus cross-entropy."""
    p = torch.softmax(logits, 1).flatten(2)
    t = functional.one_hot(index, logits.shape[1]).movedim(-1, 1).flatten(2).float()
    overlap = 1 - (2 * (p * t).sum(-1) + SMOOTH) / (p.sum(-1) + t.sum(-1) + SMOOTH)
    return overlap.mean() + functional.cross_entropy(logits, index)
