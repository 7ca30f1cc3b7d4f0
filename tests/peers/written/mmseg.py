"""Losses of mmsegmentation 1.2 by their formulas, under their names.

It is installed in the environment of trainers alone, where tests/trainers/test_peers.py runs the library itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def CrossEntropyLoss(*, use_sigmoid=False, class_weight=None, avg_non_ignore=False):
    """Compute the mean over all pixels, or over those that count; weights of classes are divided by their sum."""

    def loss(x, t, weight=None, ignore_index=255):
        if use_sigmoid:
            masks = t[:, None] if x.shape[1] == 1 else F.one_hot(t, x.shape[1]).movedim(-1, 1)
            return F.binary_cross_entropy_with_logits(x, masks.to(x.dtype))
        classes = None if class_weight is None else x.new_tensor(class_weight)
        pixels = F.cross_entropy(x, t, classes, reduction="none", ignore_index=ignore_index)
        counts = torch.ones_like(pixels) if classes is None else classes[t]
        counts = counts * (t != ignore_index) if avg_non_ignore else counts
        return (pixels if weight is None else pixels * weight).sum() / counts.sum()

    return loss


def DiceLoss(use_sigmoid=True, naive_dice=False, eps=1e-3):
    """Compute one Dice per image over all its channels together, naive or with squares."""

    def loss(x, t):
        p = x.sigmoid() if use_sigmoid else x.softmax(1)
        masks = t if t.shape == x.shape else F.one_hot(t, x.shape[1]).movedim(-1, 1).to(x.dtype)
        overlap = (p * masks).flatten(1).sum(1)
        if naive_dice:
            return 1 - ((2 * overlap + eps) / ((p + masks).flatten(1).sum(1) + eps)).mean()
        return 1 - (2 * overlap / ((p**2 + masks**2).flatten(1).sum(1) + 2 * eps)).mean()

    return loss


def FocalLoss(gamma=2.0, alpha=0.5):
    """Compute the mean over the pixels of all masks."""

    def loss(x, t):
        p_t = torch.where(t > 0, x.sigmoid(), (-x).sigmoid())
        pixels = F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - p_t) ** gamma
        return (pixels * torch.where(t > 0, alpha, 1 - alpha)).mean()

    return loss


def LovaszLoss(loss_type="multi_class", per_image=False, reduction="mean"):
    """Compute the extension of 1 - IoU by sorted errors, of the classes that are there, in the batch or per image."""
    if not per_image and reduction != "none":
        raise AssertionError("reduction must be 'none' for a whole batch")

    def one(errors, truth):
        order = errors.argsort(descending=True)
        truth = truth[order].double()
        union = truth.sum() + (1 - truth).cumsum(0)
        steps = 1 - (truth.sum() - truth.cumsum(0)) / union
        return (errors[order] * torch.cat([steps[:1], steps.diff()])).sum()

    def part(x, t):
        if loss_type == "binary":
            return one((1 - x * (2 * t - 1)).relu().flatten(), t.flatten())
        p = x.softmax(1)
        return torch.stack(
            [one(((t == c).double() - p[:, c]).abs().flatten(), (t == c).flatten()) for c in t.unique()]
        ).mean()

    def loss(x, t):
        return (
            torch.stack([part(*each) for each in zip(x.split(1), t.split(1), strict=True)]).mean()
            if per_image
            else part(x, t)
        )

    return loss


def TverskyLoss(smooth=1, alpha=0.3, beta=0.7):
    """Compute the mean over images and classes."""

    def loss(x, t):
        p, masks = x.softmax(1), F.one_hot(t, x.shape[1]).movedim(-1, 1).to(x.dtype)
        right, extra, missed = (v.sum((2, 3)) for v in (p * masks, p * (1 - masks), (1 - p) * masks))
        return (1 - (right + smooth) / (right + alpha * extra + beta * missed + smooth)).mean()

    return loss


def OhemCrossEntropy(thres=0.7, min_kept=100000):
    """Compute the mean over the pixels of the batch with p_t below thres, and over min_kept pixels at least."""

    def loss(x, t):
        p_t = x.softmax(1).gather(1, t[:, None]).flatten()
        limit = max(p_t.sort().values[min(min_kept, len(p_t) - 1)].item(), thres)
        return F.cross_entropy(x, t, reduction="none").flatten()[p_t < limit].mean()

    return loss
