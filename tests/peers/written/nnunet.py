"""Losses of nnU-Net 2.8 by their formulas, under their names; it is not installed. Targets are (N, 1, *) labels.

The formulas are those of nnunetv2/training/loss: dice.py, compound_losses.py, robust_ce_loss.py, deep_supervision.py.
"""

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


def RobustCrossEntropyLoss(**options):
    """Compute the cross-entropy of labels that have a channel."""
    return lambda x, y: F.cross_entropy(x, y[:, 0], **options)


def TopKLoss(k=10, ignore_index=-100, label_smoothing=0):
    """Compute the mean of the k percent of the batch's pixels whose cross-entropy is largest."""

    def loss(x, y):
        options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
        pixels = F.cross_entropy(x, y[:, 0], reduction="none", **options).flatten()
        return pixels.topk(int(len(pixels) * k / 100)).values.mean()

    return loss


def _with_dice(of_pixels, dice, ignore_label):
    """Compute a sum of two losses of labels; pixels of the ignored label are out of both."""

    def loss(x, y):
        if ignore_label is None:
            return of_pixels(x, y) + dice(x, y)
        keeps = (y != ignore_label).to(y.dtype)
        return of_pixels(x, y) + dice(x, y * keeps, loss_mask=keeps)

    return loss


def DC_and_CE_loss(soft_dice_kwargs, ce_kwargs, weight_ce=1, weight_dice=1, ignore_label=None, dice_class=SoftDiceLoss):
    ignored = {} if ignore_label is None else {"ignore_index": ignore_label}
    entropy, dice = RobustCrossEntropyLoss(**ce_kwargs, **ignored), dice_class(softmax_helper_dim1, **soft_dice_kwargs)
    return _with_dice(
        lambda x, y: weight_ce * entropy(x, y), lambda *given, **more: weight_dice * dice(*given, **more), ignore_label
    )


def DC_and_topk_loss(soft_dice_kwargs, ce_kwargs, weight_ce=1, weight_dice=1, ignore_label=None):
    ignored = {} if ignore_label is None else {"ignore_index": ignore_label}
    hardest, dice = TopKLoss(**ce_kwargs, **ignored), SoftDiceLoss(softmax_helper_dim1, **soft_dice_kwargs)
    return _with_dice(
        lambda x, y: weight_ce * hardest(x, y), lambda *given, **more: weight_dice * dice(*given, **more), ignore_label
    )


def DC_and_BCE_loss(bce_kwargs, soft_dice_kwargs, weight_ce=1, weight_dice=1, use_ignore_label=False):
    """Compute a weighted sum of the two, of masks; the last mask can be that of the pixels to ignore."""
    dice = SoftDiceLoss(torch.sigmoid, **soft_dice_kwargs)

    def loss(x, y):
        if not use_ignore_label:
            return weight_ce * F.binary_cross_entropy_with_logits(x, y, **bce_kwargs) + weight_dice * dice(x, y)
        keeps, masks = 1 - y[:, -1:], y[:, :-1]
        pixels = F.binary_cross_entropy_with_logits(x, masks, reduction="none", **bce_kwargs)
        return weight_ce * (pixels * keeps).sum() / keeps.sum() + weight_dice * dice(x, masks, loss_mask=keeps)

    return loss


def DeepSupervisionWrapper(loss, weight_factors):
    """Compute a weighted sum over outputs and targets of several resolutions."""
    return lambda xs, ys: sum(weight * loss(x, y) for weight, x, y in zip(weight_factors, xs, ys, strict=True))
