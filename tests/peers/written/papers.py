"""Losses that papers and examples publish with code of their own, by their formulas and under their names."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def JDTLoss(mIoUD=1.0, mIoUI=0.0, alpha=1.0, beta=1.0, smooth=1e-3):
    """Compute Tversky losses of the classes that are there: of the batch (D), and of each image (I)."""

    def loss(x, t):
        p, masks = x.softmax(1).flatten(2), F.one_hot(t, x.shape[1]).movedim(-1, 1).flatten(2).to(x.dtype)
        right = (p.abs().sum(2) + masks.abs().sum(2) - (p - masks).abs().sum(2)) / 2
        extra, missed = p.sum(2) - right, masks.sum(2) - right

        def tversky(right, extra, missed):
            return 1 - (right + smooth) / (right + alpha * extra + beta * missed + smooth)

        there = masks.amax(2) > 0
        of_batch = tversky(right.sum(0), extra.sum(0), missed.sum(0))[there.any(0)].mean()
        of_images = (tversky(right, extra, missed) * there).sum(1) / there.sum(1)
        return mIoUD * of_batch + mIoUI * of_images.mean()

    return loss


def SoftSkeletonRecallLoss(apply_nonlin, batch_dice=False, smooth=1.0):
    """Compute minus the mean share of each class's skeleton that is found; labels (N, 1, H, W), 0 elsewhere."""

    def loss(x, skeleton):
        axes = (0, 2, 3) if batch_dice else (2, 3)
        masks = F.one_hot(skeleton[:, 0], x.shape[1]).movedim(-1, 1)[:, 1:]
        found = (apply_nonlin(x)[:, 1:] * masks).sum(axes)
        return -((found + smooth) / (masks.sum(axes) + smooth)).mean()

    return loss


def BoundaryDoULoss(n_classes):
    """Compute (P + T - 2 I) / (P + T - (1 + a) I) of each class in the batch, of squares."""
    cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)

    def one(p, mask):
        around = F.conv2d(mask[:, None], cross[None, None], padding=1)[:, 0]
        edge, size = (mask * (around < 5)).sum(), mask.sum()
        a = min(2 * (1 - (edge + 1e-5) / (size + 1e-5)) - 1, torch.tensor(0.8))
        overlap, both = (p * mask).sum(), (p * p).sum() + (mask * mask).sum()
        return (both - 2 * overlap + 1e-5) / (both - (1 + a) * overlap + 1e-5)

    return lambda x, t: sum(one(x.softmax(1)[:, c], (t == c).double()) for c in range(n_classes)) / n_classes


def dice(p, mask):
    return 1 - 2 * (p * mask).sum() / (p + mask).sum()


def compute_blob_loss_multi(criterion, network_outputs, multi_label):
    """Compute the mean over the components of each image, in which the other components are set to 0."""
    images = []
    for p, labels in zip(network_outputs, multi_label, strict=True):
        blobs = [number for number in labels.unique() if number > 0]
        images.append(
            sum(criterion(p * ((labels == k) | (labels == 0)), (labels == k).to(p.dtype)) for k in blobs) / len(blobs)
        )
    return torch.stack(images).mean()


def cc_loss(criterion, p, masks, cells):
    """Compute the mean over the Voronoi cells of each image."""
    images = []
    for own, mask, numbers in zip(p, masks, cells, strict=True):
        images.append(torch.stack([criterion(own[numbers == k], mask[numbers == k]) for k in numbers.unique()]).mean())
    return torch.stack(images).mean()


def criterion(inputs, target):
    """Compute the loss of torchvision's references/segmentation/train.py, of the outputs of its models."""
    parts = {name: F.cross_entropy(x, target, ignore_index=255) for name, x in inputs.items()}
    return parts["out"] + 0.5 * parts["aux"] if "aux" in parts else parts["out"]
