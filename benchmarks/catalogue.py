"""The rows of the other families, with the fastest peers: losses over further sums, and losses over pixels."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peers import SMOOTH, LossFunction, Peer, imported, with_channel, with_compiled
from rows import NOT_COMPILED, Bar, Row
from torch import Tensor
from torch.nn import functional

NO_SLOWER = (Bar(NOT_COMPILED, 1, 1),)


def rows() -> list[Row]:
    """Return all rows, in the order of the table."""
    large, classes, discs = (8, 1, 512, 512), (2, 21, 512, 512), (4, 1, 256, 256)
    smoothed = {"name": "cross_entropy", "params": {"label_smoothing": 0.1}}
    generalized = {"name": "generalized_dice", "params": {"task": "multiclass", "smooth": 0.0}}
    softmax = {"name": "lovasz_softmax"}
    unified = {"name": "unified_focal", "params": {"task": "multiclass"}}
    return [
        Row("squared_dice", large, {"name": "squared_dice"}, squared_dice_peers, (Bar(NOT_COMPILED, 1.8, 5),)),
        Row("generalized_dice", classes, generalized, generalized_dice_peers, (Bar(NOT_COMPILED, 4, 8),), "index"),
        Row("unified_focal", classes, unified, unified_focal_peers, (Bar(NOT_COMPILED, 4, 8),), "index"),
        Row("cross_entropy smoothed", classes, smoothed, smoothed_peers, NO_SLOWER, "index"),
        Row("lovasz_hinge", large, {"name": "lovasz_hinge"}, lovasz_hinge_peers, NO_SLOWER, on_sums=False),
        Row("lovasz_softmax", classes, softmax, lovasz_softmax_peers, NO_SLOWER, "index", on_sums=False),
        Row("hausdorff_dt", discs, {"name": "hausdorff_dt"}, hausdorff_dt_peers, NO_SLOWER, "discs", on_sums=False),
        Row("hausdorff_er", discs, {"name": "hausdorff_er"}, hausdorff_er_peers, NO_SLOWER, "discs", on_sums=False),
        Row("cldice", discs, {"name": "cldice"}, cldice_peers, NO_SLOWER, "discs", on_sums=False),
    ]


def squared_dice_peers() -> list[Peer]:
    """Return peers of Dice with squares in the denominator."""
    options = {"sigmoid": True, "squared_pred": True, "smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
    return [
        *with_compiled("torch", squared_dice),
        *imported("MONAI Dice (squared)", "monai.losses", "DiceLoss", options, floats),
    ]


def generalized_dice_peers() -> list[Peer]:
    """Return peers of Dice with classes weighted by the inverse square of their volume."""
    options: dict[str, Any] = {"softmax": True, "to_onehot_y": True}
    options |= {"smooth_nr": 0.0, "smooth_dr": 0.0}
    return imported("MONAI GeneralizedDice", "monai.losses", "GeneralizedDiceLoss", options, with_channel)


def unified_focal_peers() -> list[Peer]:
    """Return both asymmetric parts in plain torch."""
    return with_compiled("torch", unified_focal)


def smoothed_peers() -> list[Peer]:
    """Return torch's own cross-entropy."""
    return with_compiled("torch", partial(functional.cross_entropy, label_smoothing=0.1))


def lovasz_hinge_peers() -> list[Peer]:
    """Return the authors' code, which other libraries copied, and kornia's."""
    kornia = imported("kornia LovaszHinge", "kornia.losses", "LovaszHingeLoss", {}, without_channel)
    return [*with_compiled("authors' way", lovasz_hinge), *kornia]


def lovasz_softmax_peers() -> list[Peer]:
    """Return the authors' code, over all classes, and kornia's."""
    kornia = imported("kornia LovaszSoftmax", "kornia.losses", "LovaszSoftmaxLoss", {})
    return [*with_compiled("authors' way", lovasz_softmax), *kornia]


def hausdorff_dt_peers() -> list[Peer]:
    """Return MONAI's loss, which also uses SciPy. With uint8 masks it would round distances down to whole pixels."""
    return imported(
        "MONAI HausdorffDT", "monai.losses", "HausdorffDTLoss", {"sigmoid": True, "include_background": True}, floats
    )


def hausdorff_er_peers() -> list[Peer]:
    """Return kornia's loss, which needs probabilities of at least two classes."""
    return imported("kornia HausdorffER", "kornia.losses", "HausdorffERLoss", {"k": 10}, two_classes)


def cldice_peers() -> list[Peer]:
    """Return MONAI's loss, which takes probabilities. Its `smooth` is in the harmonic mean, where ours has none."""
    options = {"iter_": 10, "smooth_nr": SMOOTH, "smooth_dr": SMOOTH, "smooth": 1e-9}
    return imported("MONAI SoftclDice", "monai.losses", "SoftclDiceLoss", options, probabilities)


def floats(loss: LossFunction) -> LossFunction:
    """Pass masks as floats."""
    return lambda logits, masks: loss(logits, masks.float())


def without_channel(loss: LossFunction) -> LossFunction:
    """Pass masks as class indices of the one channel."""
    return lambda logits, masks: loss(logits, masks.squeeze(1).long())


def two_classes(loss: LossFunction) -> LossFunction:
    """Pass two classes, the background and the mask."""
    return lambda logits, masks: loss(torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1), masks.long())


def probabilities(loss: LossFunction) -> LossFunction:
    """Pass the target first, both as floats."""
    return lambda logits, masks: loss(masks.float(), logits.sigmoid())


def squared_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean squared Dice loss."""
    p, t = logits.sigmoid().flatten(2), masks.float().flatten(2)
    score = (2 * (p * t).sum(-1) + SMOOTH) / (p.square().sum(-1) + t.square().sum(-1) + SMOOTH)
    return (1 - score).mean()


def unified_focal(logits: Tensor, index: Tensor) -> Tensor:
    """Return the mean of the asymmetric parts, with delta .6, gamma .5 and channel 0 as the background."""
    log_p = torch.log_softmax(logits, 1).flatten(2)
    p, t = log_p.exp(), functional.one_hot(index, logits.shape[1]).movedim(-1, 1).flatten(2).float()
    cross_entropy = -t * log_p
    background = 0.4 * (1 - p[:, :1]).clamp_min(1e-7) ** 0.5 * cross_entropy[:, :1]
    focal = torch.cat([background, 0.6 * cross_entropy[:, 1:]], 1).sum(1).mean()
    both = (p * t).sum(-1)
    index_of_classes = (both + SMOOTH) / (both + 0.6 * (t - p * t).sum(-1) + 0.4 * (p - p * t).sum(-1) + SMOOTH)
    rest = 1 - index_of_classes
    tversky = torch.cat([rest[:, :1], rest[:, 1:].clamp_min(1e-7) ** 0.5], 1).mean()
    return (focal + tversky) / 2


def lovasz_increments(t: Tensor) -> Tensor:
    """Return the gradient of the Lovasz extension for sorted errors, row by row."""
    found = t.cumsum(-1)
    intersection = found[..., -1:] - found
    union = found[..., -1:] + (1 - t).cumsum(-1)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], -1)


def lovasz_hinge(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the Lovasz hinge loss, image by image."""
    x, t = logits.flatten(1), masks.flatten(1).float()
    errors, order = torch.sort(1 - x * (2 * t - 1), dim=1, descending=True)
    return (torch.relu(errors) * lovasz_increments(t.gather(1, order))).sum(1).mean()


def lovasz_softmax(logits: Tensor, index: Tensor) -> Tensor:
    """Return the Lovasz softmax loss, class by class and image by image."""
    p = logits.softmax(1).flatten(2)
    t = functional.one_hot(index, logits.shape[1]).movedim(-1, 1).flatten(2).float()
    errors, order = torch.sort((t - p).abs(), dim=2, descending=True)
    return (errors * lovasz_increments(t.gather(2, order))).sum(2).mean()
