"""The rows of the benchmark, the losses of other libraries, and the bars for ours.

Every loss is called as in training: float logits and the target of the data set, uint8 masks or class indices. A loss
that needs float masks converts them itself, within its time.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LossFunction = Callable[..., Tensor]
ALPHA, GAMMA, SMOOTH = 0.25, 2.0, 1.0  # the defaults of ours


class Peer(NamedTuple):
    """A loss to time, or the reason why it is missing."""

    name: str
    loss: LossFunction | None
    problem: str = ""
    compiled: bool = False
    ours: bool = False
    differs: str = ""  # why its definition gives another value


class Bar(NamedTuple):
    """The required speed of ours, in multiples of a peer's; None is the fastest peer, compiled or not compiled."""

    peer: str | None
    cpu: float
    cuda: float
    compiled: bool = False


class Row(NamedTuple):
    """One row: the shape of the logits, our loss, the peers."""

    name: str
    shape: tuple[int, ...]
    config: dict[str, Any]
    peers: Callable[[], list[Peer]]
    bars: tuple[Bar, ...] = ()
    # "mask": (N, C, H, W). "shared": (N, H, W), for C masks with a predicted IoU. "index": (N, H, W) of C classes.
    # "discs": (N, C, H, W), and logits that nearly predict them.
    target: str = "mask"
    dtype: torch.dtype = torch.float32
    on_sums: bool = True  # True if ours is a function of sums, to which the bars of memory apply


COMPILED_BAR = Bar(None, 1.3, 2, compiled=True)
KEPT_BAR = 5.0  # bytes kept for backward per float32 logit, input and target included
EXTRA_BAR = 16.0  # MB at the peak, without input, target and gradient

DICE_CE = {
    "name": "weighted_sum",
    "params": {"terms": [{"name": name, "params": {"task": "multiclass"}} for name in ("dice", "cross_entropy")]},
}


def rows() -> list[Row]:
    """Return all rows, in the order of the table."""
    large, middle, small = (8, 1, 512, 512), (1, 1, 256, 256), (1, 1, 64, 64)
    sam, mixture, plain_dice = {"name": "sam"}, {"name": "bce_dice_focal"}, {"name": "dice"}
    sam_peers, bce_peers = partial(with_compiled, "SAM 2", sam2), partial(with_compiled, "torch", bce)
    sam_bars = (Bar("SAM 2, eager", 10, 20), COMPILED_BAR)
    mixture_bars = (Bar("torch, eager", 6, 15), COMPILED_BAR)
    focal_bars = (Bar("torchvision's way, eager", 6, 15), COMPILED_BAR)
    multiclass_bars = (Bar("MONAI DiceCE", 4, 8), COMPILED_BAR)
    overhead = (Bar(None, 1 / 2, 1 / 1.5),)
    return [
        Row("sam", (4, 3, 1024, 1024), sam, sam_peers, sam_bars, "shared"),
        Row("bce_dice_focal", large, mixture, mixture_peers, mixture_bars),
        Row("dice", large, plain_dice, dice_peers, (Bar(None, 1.8, 5), COMPILED_BAR)),
        Row("focal", large, {"name": "focal"}, focal_peers, focal_bars),
        Row("bce", large, {"name": "bce"}, bce_peers),
        Row("dice + cross_entropy", (2, 21, 512, 512), DICE_CE, multiclass_peers, multiclass_bars, "index"),
        Row("bce_dice_focal small", small, mixture, mixture_peers, overhead),
        Row("dice small", small, plain_dice, dice_peers, overhead),
        Row("bce_dice_focal middle", middle, mixture, mixture_peers),
        Row("dice middle", middle, plain_dice, dice_peers),
        Row("sam bfloat16", (24, 3, 1024, 1024), sam, sam_peers, target="shared", dtype=torch.bfloat16),
    ]


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
    return [Peer(f"{name}, eager", loss), Peer(f"{name}, compiled", compiled, compiled=True)]


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


def mixture_peers() -> list[Peer]:
    """Return peers of cross-entropy, Dice and focal. MONAI has only the last two."""
    options = {"sigmoid": True, "alpha": ALPHA, "gamma": GAMMA, "smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
    monai = imported("MONAI DiceFocal", "monai.losses", "DiceFocalLoss", options, differs="no BCE")
    return [*with_compiled("torch", bce_dice_focal), *monai]


def dice_peers() -> list[Peer]:
    """Return peers of Dice of one mask. kornia has none: it takes the softmax over at least two classes."""
    options = {"sigmoid": True, "smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
    return [
        *with_compiled("torch", dice),
        *imported("MONAI Dice", "monai.losses", "DiceLoss", options),
        *imported("smp Dice", "segmentation_models_pytorch.losses", "DiceLoss", {"mode": "binary", "smooth": SMOOTH}),
        Peer("kornia Dice", None, "no binary form: softmax over at least two classes"),
    ]


def focal_peers() -> list[Peer]:
    """Return peers of the focal loss of one mask, mean over pixels."""
    options: dict[str, Any] = {"alpha": ALPHA, "gamma": GAMMA}
    pixel_mean = options | {"reduction": "mean", "ignore_index": None}
    return [
        *with_compiled("torchvision's way", focal),
        *imported("kornia BinaryFocal", "kornia.losses", "BinaryFocalLossWithLogits", pixel_mean),
        *imported("MONAI Focal", "monai.losses", "FocalLoss", options),
    ]


def multiclass_peers() -> list[Peer]:
    """Return peers of softmax Dice over all classes, plus cross-entropy."""
    options: dict[str, Any] = {"softmax": True, "to_onehot_y": True, "include_background": True}
    options |= {"smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
    monai = imported(
        "MONAI DiceCE", "monai.losses", "DiceCELoss", options, lambda loss: lambda x, t: loss(x, t.unsqueeze(1))
    )
    return [*with_compiled("torch", dice_cross_entropy), *monai]


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
