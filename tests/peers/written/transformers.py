"""Losses of transformers 5 by their formulas, under their names.

It is installed in the environment of trainers alone, where tests/trainers/test_peers.py runs the library itself.
"""

from __future__ import annotations

import torch.nn.functional as F


def ForSemanticSegmentationLoss(logits, labels, ignore_index=255, auxiliary_logits=None, auxiliary_loss_weight=0.4):
    """Compute cross-entropies of logits that are enlarged to the size of the labels (loss/loss_utils.py)."""

    def one(x):
        x = F.interpolate(x, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        return F.cross_entropy(x, labels, ignore_index=ignore_index)

    return one(logits) + (0 if auxiliary_logits is None else auxiliary_loss_weight * one(auxiliary_logits))


def dice_loss(inputs, labels, num_masks):
    """Compute the sum over masks (M, pixels), divided by a number (Mask2Former, MaskFormer, OneFormer, DETR)."""
    p = inputs.sigmoid()
    score = (2 * (p * labels).sum(-1) + 1) / (p.sum(-1) + labels.sum(-1) + 1)
    return (1 - score).sum() / num_masks


def sigmoid_focal_loss(inputs, labels, num_masks, alpha=0.25, gamma=2):
    """Compute the mean over pixels, summed over masks and divided by a number (MaskFormer, DETR)."""
    p = inputs.sigmoid()
    p_t = p * labels + (1 - p) * (1 - labels)
    pixels = F.binary_cross_entropy_with_logits(inputs, labels, reduction="none") * (1 - p_t) ** gamma
    if alpha >= 0:
        pixels = pixels * (alpha * labels + (1 - alpha) * (1 - labels))
    return pixels.mean(1).sum() / num_masks


def sigmoid_cross_entropy_loss(inputs, labels, num_masks):
    """Compute the mean over pixels, summed over masks and divided by a number (Mask2Former, OneFormer)."""
    return F.binary_cross_entropy_with_logits(inputs, labels, reduction="none").mean(1).sum() / num_masks
