"""Losses of nnU-Net 2 by their formulas, under their names; it is not installed. Targets are (N, 1, *) labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def softmax_helper_dim1(x):
    return x.softmax(1)


class SoftDiceLoss:
    """Minus the mean score of the classes."""

    def __init__(self, apply_nonlin=None, batch_dice=False, do_bg=True, smooth=1.0):
        self.apply, self.batch, self.first, self.smooth = apply_nonlin or (lambda x: x), batch_dice, not do_bg, smooth

    def __call__(self, x, y, loss_mask=None):
        p = self.apply(x)
        masks = y if y.shape == p.shape else F.one_hot(y[:, 0], p.shape[1]).movedim(-1, 1).to(p.dtype)
        kept = 1.0 if loss_mask is None else loss_mask
        axes = (0, 2, 3) if self.batch else (2, 3)
        overlap, volume = ((v * kept).sum(axes) for v in (p * masks, p + masks))
        score = (2 * overlap + self.smooth) / (volume + self.smooth)
        return -score[..., int(self.first) :].mean()


MemoryEfficientSoftDiceLoss = SoftDiceLoss  # the same value


def DC_and_CE_loss(soft_dice_kwargs, ce_kwargs, weight_ce=1, weight_dice=1, ignore_label=None):
    """Compute a weighted sum of the two; pixels of the ignored label are out of both."""

    def loss(x, y):
        keeps = torch.ones_like(y) if ignore_label is None else (y != ignore_label).to(y.dtype)
        dice = SoftDiceLoss(softmax_helper_dim1, **soft_dice_kwargs)(x, y * keeps, loss_mask=keeps)
        ignored = -100 if ignore_label is None else ignore_label
        return weight_ce * F.cross_entropy(x, y[:, 0], ignore_index=ignored, **ce_kwargs) + weight_dice * dice

    return loss


def DC_and_BCE_loss(bce_kwargs, soft_dice_kwargs, weight_ce=1, weight_dice=1):
    """Compute a weighted sum of the two, of masks."""
    dice = SoftDiceLoss(torch.sigmoid, **soft_dice_kwargs)
    return lambda x, y: weight_ce * F.binary_cross_entropy_with_logits(x, y, **bce_kwargs) + weight_dice * dice(x, y)


def TopKLoss(k=10):
    """Compute the mean of the k percent of the batch's pixels whose cross-entropy is largest."""

    def loss(x, y):
        pixels = F.cross_entropy(x, y[:, 0], reduction="none").flatten()
        return pixels.topk(int(len(pixels) * k / 100)).values.mean()

    return loss
