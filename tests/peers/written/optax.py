"""Losses of optax by their formulas, under their names; it is not installed. Classes are the last axis there."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def dice_loss(predictions, targets, *, class_weights=None, smooth=1.0, ignore_background=False):
    """Compute one value per image; a single class has a sigmoid, and weights are not divided by their sum."""
    p = predictions.sigmoid() if predictions.shape[-1] == 1 else predictions.softmax(-1)
    overlap, volume = (v.sum((1, 2)) for v in (p * targets, p + targets))
    loss = 1 - (2 * overlap + smooth) / (volume + smooth)
    loss = loss if class_weights is None else loss * class_weights
    return loss[:, int(ignore_background) :].mean(-1)


def sigmoid_focal_loss(logits, labels, alpha=None, gamma=2.0):
    """Compute the focal loss of each element."""
    p_t = torch.where(labels > 0, logits.sigmoid(), (-logits).sigmoid())
    loss = -p_t.log() * (1 - p_t) ** gamma
    return loss if alpha is None else loss * torch.where(labels > 0, alpha, 1 - alpha)


def softmax_cross_entropy_with_integer_labels(logits, labels):
    return F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none")
