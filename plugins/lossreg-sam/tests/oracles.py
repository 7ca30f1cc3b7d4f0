"""Tensors of a SAM step, and its losses in numpy float64, one mask at a time without its ignored pixels."""

from __future__ import annotations

import numpy as np
import torch

import lossreg


def build(name, **params):
    """Build the loss from its config, as a user does."""
    return lossreg.build({"name": name, "params": params})


def step(batch=4, masks=3, size=(4, 5), dtype=torch.float64, seed=0, scale=2.0):
    """Return logits (N, M, H, W), target (N, H, W) of 0 and 1, predicted IoU (N, M)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, masks, *size, generator=generator, dtype=torch.float64) * scale
    t = torch.randint(0, 2, (batch, *size), generator=generator)
    iou = torch.rand(batch, masks, generator=generator, dtype=torch.float64)
    return x.to(dtype), t, iou.to(dtype)


def ragged(**sizes):
    """Return such a step in which the mark 255 ignores a part of example 1 and all of example 2."""
    x, t, iou = step(**sizes)
    t[1, 1:, 2:], t[2] = 255, 255
    return x, t, iou


def focal(p, t, alpha, gamma):
    p_t = p * t + (1 - p) * (1 - t)
    alpha_t = 1 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    return np.mean(-alpha_t * (1 - p_t) ** gamma * (t * np.log(p) + (1 - t) * np.log(1 - p)))


def dice(p, t, smooth):
    both = (p.sum() + t.sum() - np.abs(p - t).sum()) / 2
    return 1 - (2 * both + smooth) / (p.sum() + t.sum() + smooth)


def iou_error(x, t, predicted, threshold):
    hit, mask = x > threshold, t > 0.5
    return (predicted - (hit & mask).sum() / max((hit | mask).sum(), 1)) ** 2


def parts(x, t, predicted, alpha, gamma, smooth, threshold):
    """Compute focal, dice and iou of one mask."""
    p = 1 / (1 + np.exp(-x))
    return np.array([focal(p, t, alpha, gamma), dice(p, t, smooth), iou_error(x, t, predicted, threshold)])


def components(x, t, iou, *, alpha=0.25, gamma=2.0, smooth=1.0, threshold=0.0, ignore_index=None, absent="score"):
    """Compute focal, dice and iou of each example, (N, 3), the means over its masks."""
    x, t, iou = (tensor.double().numpy() for tensor in (x, t, iou))
    found = np.zeros((len(x), 3))
    for n in range(len(x)):
        kept = t[n] != ignore_index
        pixels, rows = t[n][kept], []
        for m in range(x.shape[1]):
            if pixels.size == 0:
                continue
            row = parts(x[n, m][kept], pixels, iou[n, m], alpha, gamma, smooth, threshold)
            if pixels.sum() == 0 and absent != "score":
                # All masks have one target, so "ignore" leaves none of them: 0, the value of "zero".
                p = 1 / (1 + np.exp(-x[n, m][kept]))
                row[:2] = p.mean() if absent == "false_positives" else 0.0
            rows.append(row)
        found[n] = np.mean(rows, axis=0) if rows else 0.0
    return found


def value_and_gradients(loss, x, t, iou):
    """Compute the loss, and its gradients to the logits and to the predicted IoU."""
    leaves = x.detach().clone().requires_grad_(), iou.detach().clone().requires_grad_()
    value = loss(leaves[0], t, leaves[1])
    return value.detach(), *torch.autograd.grad(value, leaves, materialize_grads=True)
