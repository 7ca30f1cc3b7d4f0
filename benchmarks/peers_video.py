"""SAM 2's loss over correction steps, in plain torch, and ours for the same tensors."""

from __future__ import annotations

import torch
from peers import LossFunction, Peer, dice_of_masks, focal_of_pixels, with_compiled
from torch import Tensor
from torch.nn import functional

NAMES = ("multistep_pred_multimasks_high_res", "multistep_pred_ious", "multistep_object_score_logits")


def video_peers() -> list[Peer]:
    """Return the loop over the steps, as the training code of SAM 2 has it."""
    return with_compiled("SAM 2", video)


def split(tensors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the logits of the steps, the target, the predicted IoUs and the scores of presence."""
    steps = (len(tensors) - 1) // 3
    rest = tensors[steps + 1 :]
    return tensors[:steps], tensors[steps], rest[:steps], rest[steps:]


def from_tensors(loss: LossFunction) -> LossFunction:
    """Pass the tensors of one frame as the outputs of SAM 2."""

    def of_outputs(*tensors: Tensor) -> Tensor:
        logits, target, ious, scores = split(tensors)
        outputs = dict(zip(NAMES, (list(logits), list(ious), list(scores)), strict=True))
        return loss([outputs], target.unsqueeze(0))

    return of_outputs


def video(*tensors: Tensor) -> Tensor:
    """Return the sum over the steps, with the weights and options of the released training config."""
    logits, target, ious, scores = split(tensors)
    each = [step(x, target, iou, score) for x, iou, score in zip(logits, ious, scores, strict=True)]
    return torch.stack(each).sum() / len(target)


def step(logits: Tensor, masks: Tensor, predicted_iou: Tensor, score: Tensor) -> Tensor:
    """Return the sum over objects of one step: focal and Dice of the best mask, all IoUs, and the presence."""
    t = masks.unsqueeze(1).float().expand_as(logits)
    focal, dice = focal_of_pixels(logits, t).flatten(2).mean(-1), dice_of_masks(logits, t)
    predicted, actual = logits.flatten(2) > 0, t.flatten(2) > 0
    union = (predicted | actual).sum(-1).clamp(min=1.0)
    error = (predicted_iou - (predicted & actual).sum(-1) / union).abs().mean(1)
    best = (20 * focal + dice).argmin(1, keepdim=True)
    masked = (20 * focal + dice).gather(1, best).squeeze(1) + error
    present = actual.any(-1)[:, 0].float()
    presence = functional.binary_cross_entropy_with_logits(score[:, 0], present, reduction="sum")
    return (masked * present).sum() + presence
