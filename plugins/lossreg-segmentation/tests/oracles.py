"""The formulas of the losses in numpy float64: one mask at a time, and ignored pixels left out of the arrays."""

from __future__ import annotations

import numpy as np

MIXTURE = {"bce_weight": 0.4, "dice_weight": 0.4, "focal_weight": 0.2}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def overlap(p, t):
    """True positives as half of what P and T have beyond their L1 distance."""
    return (p.sum() + t.sum() - np.abs(p - t).sum()) / 2


def dice(p, t, smooth=1.0):
    return 1 - (2 * overlap(p, t) + smooth) / (p.sum() + t.sum() + smooth)


def jaccard(p, t, smooth=1.0):
    both = overlap(p, t)
    return 1 - (both + smooth) / (p.sum() + t.sum() - both + smooth)


def tversky(p, t, alpha=0.5, beta=0.5, smooth=1.0):
    both = overlap(p, t)
    return 1 - (both + smooth) / (both + alpha * (p.sum() - both) + beta * (t.sum() - both) + smooth)


def focal_tversky(p, t, gamma=0.75, **others):
    return tversky(p, t, **others) ** gamma


def bce(p, t, pos_weight=1.0):
    return np.mean(-pos_weight * t * np.log(p) - (1 - t) * np.log(1 - p))


def focal(p, t, alpha=0.25, gamma=2.0):
    """Element: BCE times (1 - p_t)^gamma times alpha_t, as Lin et al. write it."""
    p_t = p * t + (1 - p) * (1 - t)
    alpha_t = 1 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    return np.mean(alpha_t * (1 - p_t) ** gamma * (-t * np.log(p) - (1 - t) * np.log(1 - p)))


def bce_dice_focal(p, t, bce_weight=0.4, dice_weight=0.4, focal_weight=0.2, alpha=0.25, gamma=2.0, smooth=1.0):
    return bce_weight * bce(p, t) + dice_weight * dice(p, t, smooth) + focal_weight * focal(p, t, alpha, gamma)


MASK = {
    "bce": bce,
    "cross_entropy": bce,
    "focal": focal,
    "dice": dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "focal_tversky": focal_tversky,
    "bce_dice_focal": bce_dice_focal,
}


def of_classes(name, p, t, class_weight, alpha=None, gamma=2.0):
    """Softmax cross-entropy and focal over the pixels of (C, L): sum w l / sum w; the plain mean without weights."""
    total, weight = 0.0, 0.0
    for pixel in range(p.shape[1]):
        for c in range(p.shape[0]):
            w = 1.0 if class_weight is None else class_weight[c]
            factor = 1.0 if alpha is None else alpha[c]
            power = (1 - p[c, pixel]) ** gamma if name == "focal" else 1.0
            total -= w * factor * power * t[c, pixel] * np.log(p[c, pixel])
            weight += w * t[c, pixel] if class_weight is not None else 1.0 / p.shape[0]
    return total / weight if weight > 0 else 0.0


def of_masks(name, rows, class_weight, absent, own):
    """The weighted mean over the masks [(p, t), ...] of one example, each without its ignored pixels."""
    total, weight = 0.0, 0.0
    for c, (p, t) in enumerate(rows):
        if p.size == 0 or (absent == "ignore" and t.sum() == 0):
            continue
        given = {key: value[c] if isinstance(value, list) else value for key, value in own.items()}
        value = MASK[name](p, t, **given)
        if t.sum() == 0:
            # Each component of the mixture takes the value of the policy, so that it has the sum of their weights.
            parts = sum(value for key, value in (MIXTURE | given).items() if key in MIXTURE)
            whole = parts if name == "bce_dice_focal" else 1.0
            value = {"zero": 0.0, "false_positives": whole * p.mean()}.get(absent, value)
        w = 1.0 if class_weight is None else class_weight[c]
        total, weight = total + w * value, weight + w
    return total / weight if weight > 0 else 0.0


def per_example(name, x, t, valid, task, *, class_weight=None, batch=False, absent="score", **own):
    """(N,), or (1,) with batch=True. x, t (N, C, L) float64 and valid (N, L) or (N, C, L) bool."""
    if batch:
        x, t, valid = (np.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1)[None] for a in (x, t, valid))
    p = softmax(x, 1) if task == "multiclass" else sigmoid(x)
    valid = np.broadcast_to(valid if valid.ndim == 3 else valid[:, None], p.shape)
    values = []
    for example in range(len(p)):
        if task == "multiclass" and name in ("cross_entropy", "focal"):
            kept = valid[example, 0]
            values.append(of_classes(name, p[example][:, kept], t[example][:, kept], class_weight, **own))
            continue
        rows = [(p[example, c][v], t[example, c][v]) for c, v in enumerate(valid[example])]
        values.append(of_masks(name, rows, class_weight, absent, own))
    return np.array(values)
