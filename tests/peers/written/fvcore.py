"""Losses of fvcore 0.1.5 (fvcore/nn/focal_loss.py) by their formulas, under their names; it is not installed."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _reduced(loss, targets, alpha, reduction):
    weighted = loss if alpha < 0 else loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return {"mean": torch.mean, "sum": torch.sum}.get(reduction, lambda each: each)(weighted)


def sigmoid_focal_loss(inputs, targets, alpha=-1, gamma=2, reduction="none"):
    """Compute the cross-entropy of masks times (1 - p_t)^gamma; a negative alpha weighs nothing."""
    p = inputs.sigmoid()
    p_t = p * targets + (1 - p) * (1 - targets)
    pixels = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    return _reduced(pixels * (1 - p_t) ** gamma, targets, alpha, reduction)


def sigmoid_focal_loss_star(inputs, targets, alpha=-1, gamma=1, reduction="none"):
    """Compute the cross-entropy of logits times gamma, divided by gamma."""
    return _reduced(-F.logsigmoid(gamma * inputs * (2 * targets - 1)) / gamma, targets, alpha, reduction)
