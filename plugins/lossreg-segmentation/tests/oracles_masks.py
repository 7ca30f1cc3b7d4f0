"""The formulas of one mask in numpy float64, from the probabilities and the target of the valid pixels."""

from __future__ import annotations

import math

import numpy as np


def overlap(p, t):
    """Return the true positives as (P + T - L1 distance) / 2."""
    return (p.sum() + t.sum() - np.abs(p - t).sum()) / 2


def dice(p, t, smooth=1.0):
    return 1 - (2 * overlap(p, t) + smooth) / (p.sum() + t.sum() + smooth)


def squared_dice(p, t, smooth=1.0):
    return 1 - (2 * (p * t).sum() + smooth) / ((p**2).sum() + (t**2).sum() + smooth)


def log_cosh_dice(p, t, smooth=1.0):
    return math.log(math.cosh(dice(p, t, smooth)))


def jaccard(p, t, smooth=1.0):
    both = overlap(p, t)
    return 1 - (both + smooth) / (p.sum() + t.sum() - both + smooth)


def tversky(p, t, alpha=0.5, beta=0.5, smooth=1.0):
    both = overlap(p, t)
    return 1 - (both + smooth) / (both + alpha * (p.sum() - both) + beta * (t.sum() - both) + smooth)


def focal_tversky(p, t, gamma=0.75, **others):
    return tversky(p, t, **others) ** gamma


def mcc(p, t, smooth=1e-5):
    """Compute the loss from the four soft counts; a variance is at least 1e-7."""
    tp, n = overlap(p, t), p.size
    fp, fn = p.sum() - tp, t.sum() - tp
    tn = n - tp - fp - fn
    variances = [max(v, 1e-7) + smooth for v in ((tp + fp) * (tn + fn) / n, (tp + fn) * (tn + fp) / n)]
    return 1 - (tp * tn - fp * fn) / n / np.sqrt(variances[0] * variances[1])


def region_size(p, t):
    return abs(p.mean() - t.mean())


def pixel_costs(p, t):
    return -t * np.log(p) - (1 - t) * np.log(1 - p)


def bce(p, t, pos_weight=1.0):
    return np.mean(-pos_weight * t * np.log(p) - (1 - t) * np.log(1 - p))


def cross_entropy(p, t, label_smoothing=0.0):
    return bce(p, t * (1 - label_smoothing) + label_smoothing / 2)


def poly1(p, t, epsilon=1.0):
    return bce(p, t) + epsilon * np.abs(p - t).mean()


def focal(p, t, alpha=0.25, gamma=2.0):
    """Multiply BCE by (1 - p_t)^gamma and alpha_t, as Lin et al. do."""
    p_t = p * t + (1 - p) * (1 - t)
    alpha_t = 1 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    return np.mean(alpha_t * (1 - p_t) ** gamma * pixel_costs(p, t))


def bce_dice_focal(p, t, bce_weight=0.4, dice_weight=0.4, focal_weight=0.2, alpha=0.25, gamma=2.0, smooth=1.0):
    return bce_weight * bce(p, t) + dice_weight * dice(p, t, smooth) + focal_weight * focal(p, t, alpha, gamma)


def asymmetric_focal(p, t, delta=0.7, gamma=2.0):
    """Return -delta t log p - (1 - delta) (1 - t) p^gamma log(1 - p); soft backgrounds use their part of `focal`."""
    wrong = p * (1 - t) + (1 - p) * t
    return np.mean(-delta * t * np.log(p) + (1 - delta) * (1 - t) * wrong**gamma * pixel_costs(p, t))


def background_tversky(p, t, delta=0.7, gamma=0.75, smooth=1.0):
    """Return one minus the modified Tversky index, with delta as the weight of false negatives."""
    return tversky(p, t, alpha=1 - delta, beta=delta, smooth=smooth)


def rare_tversky(p, t, delta=0.7, gamma=0.75, smooth=1.0):
    return background_tversky(p, t, delta, gamma, smooth) ** (1 - gamma)


def asymmetric_focal_tversky(p, t, **own):
    """Average the two classes of the paper's binary form; the background is the complement."""
    return (background_tversky(1 - p, 1 - t, **own) + rare_tversky(p, t, **own)) / 2


def unified_focal(p, t, weight=0.5, delta=0.6, gamma=0.5, smooth=1.0):
    tversky = asymmetric_focal_tversky(p, t, delta=delta, gamma=gamma, smooth=smooth)
    return weight * asymmetric_focal(p, t, delta, gamma) + (1 - weight) * tversky


def extension(errors, t):
    """Integrate 1 - IoU over thresholds, of the target and the mask in which larger errors are mistakes."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    levels = [*(errors[i] for i in order), 0.0]
    value = 0.0
    for count in range(1, len(order) + 1):
        wrong, right = order[:count], order[count:]
        intersection = sum(t[i] for i in right)
        union = sum(t) + sum(1 - t[i] for i in wrong)
        value += (levels[count - 1] - levels[count]) * (1 - intersection / union)
    return value


def lovasz_hinge(p, t):
    """Use the margins of the logits; a soft target counts as the mask t > 1/2."""
    t = (t > 0.5).astype(float)
    return extension(np.maximum(0, 1 - np.log(p / (1 - p)) * (2 * t - 1)), t)


def lovasz_softmax(p, t):
    return extension(np.abs(t - p), t)


def hardest(costs, weighed, weights, count):
    """Return sum w l / sum w over the given number of the largest costs, with class weights w."""
    chosen = sorted(range(len(costs)), key=lambda i: -costs[i])[:count]
    total = sum(weights[i] for i in chosen)
    return sum(weighed[i] for i in chosen) / total if total else 0.0


def of_topk(costs, weighed, weights, k=0.1):
    return hardest(costs, weighed, weights, max(1, math.floor(k * len(costs))))


def of_ohem(costs, weighed, weights, threshold=0.7, min_share=0.0625):
    below = sum(math.exp(-cost) < threshold for cost in costs)
    return hardest(costs, weighed, weights, max(below, math.floor(min_share * len(costs))))


def topk(p, t, **own):
    return of_topk(pixel_costs(p, t), pixel_costs(p, t), np.ones(p.size), **own)


def ohem_cross_entropy(p, t, **own):
    return of_ohem(pixel_costs(p, t), pixel_costs(p, t), np.ones(p.size), **own)


MASK = {
    formula.__name__: formula
    for formula in (
        bce,
        cross_entropy,
        poly1,
        focal,
        asymmetric_focal,
        dice,
        squared_dice,
        log_cosh_dice,
        jaccard,
        tversky,
        focal_tversky,
        asymmetric_focal_tversky,
        mcc,
        region_size,
        bce_dice_focal,
        unified_focal,
        lovasz_hinge,
        lovasz_softmax,
        topk,
        ohem_cross_entropy,
    )
}
