"""The formulas of one example whose classes depend on each other: loops over valid pixels, numpy float64."""

from __future__ import annotations

import numpy as np

from .oracles_masks import of_ohem, of_topk, overlap


def pixel_mean(p, t, class_weight, element):
    """Return sum w l / sum w over the pixels of (C, L), with the weights of the target's classes, or the plain mean.

    `element(c, p, t)` is the summand of class c of a pixel.
    """
    classes, pixels = p.shape
    w = [1.0] * classes if class_weight is None else class_weight
    total = count = 0.0
    for i in range(pixels):
        for c in range(classes):
            total += w[c] * element(c, p[c, i], t[c, i])
            count += 1 / classes if class_weight is None else w[c] * t[c, i]
    return total / count if count else 0.0


def cross_entropy(p, t, class_weight=None, label_smoothing=0.0):
    share = label_smoothing / len(p)
    return pixel_mean(p, t, class_weight, lambda c, p, t: -(t * (1 - label_smoothing) + share) * np.log(p))


def focal(p, t, class_weight=None, alpha=None, gamma=2.0):
    alpha = [1.0] * len(p) if alpha is None else alpha
    return pixel_mean(p, t, class_weight, lambda c, p, t: -alpha[c] * (1 - p) ** gamma * t * np.log(p))


def poly1(p, t, class_weight=None, epsilon=1.0):
    """Use max(t - p, 0) as the missing probability of a class, which is 1 - p_t for a hard target."""
    return pixel_mean(p, t, class_weight, lambda c, p, t: -t * np.log(p) + epsilon * max(t - p, 0))


def asymmetric_focal(p, t, class_weight=None, delta=0.7, gamma=2.0):
    """Use class 0 as the background."""

    def element(c, p, t):
        return -t * np.log(p) * (delta if c > 0 else (1 - delta) * (1 - p) ** gamma)

    return pixel_mean(p, t, class_weight, element)


def topk(p, t, class_weight=None, **own):
    return of_topk(*costs_and_weights(p, t, class_weight), **own)


def ohem_cross_entropy(p, t, class_weight=None, **own):
    return of_ohem(*costs_and_weights(p, t, class_weight), **own)


def costs_and_weights(p, t, class_weight):
    """Return, per pixel, the cost that ranks it, the cost with class weights, and the weight of its classes."""
    costs = -t * np.log(p)
    if class_weight is None:
        return costs.sum(0), costs.sum(0), np.ones(p.shape[1])
    return costs.sum(0), np.array(class_weight) @ costs, np.array(class_weight) @ t


def wasserstein_dice(p, t, class_weight=None, distances=None, weighting="default", smooth=1.0):
    """Loop over pixels and pairs of classes."""
    classes = range(len(p))
    largest = 1.0 if distances is None else np.max(distances)
    volume = t.sum(1)
    alpha = [1 / (volume[c] + 1) if weighting == "GDL" else float(c > 0) for c in classes]
    correct = errors = 0.0
    for i in range(p.shape[1]):
        pairs = [(y, c, t[y, i] * p[c, i]) for y in classes for c in classes]
        cost = sum((float(y != c) if distances is None else distances[y][c] / largest) * w for y, c, w in pairs)
        weight = sum(alpha[c] * t[c, i] for c in classes)
        correct += weight * (1 - cost)
        errors += weight * cost if weighting == "GDL" else cost
    return 1 - (2 * correct + smooth) / (2 * correct + errors + smooth)


CLASSES = {
    formula.__name__: formula
    for formula in (cross_entropy, focal, poly1, asymmetric_focal, topk, ohem_cross_entropy, wasserstein_dice)
}


def generalized_dice(rows, class_weight=None, absent="score", weighting="square", smooth=1.0):
    """Compute the loss of the masks [(p, t), ...] of one example, with the weights of Sudre et al., 1 / T^k.

    Their scale is arbitrary: `smooth` is in pixels of the smallest class, so the weights are divided by the largest.
    """
    kept = [c for c, (p, t) in enumerate(rows) if p.size and not (absent == "ignore" and t.sum() == 0)]
    kept = [c for c in kept if class_weight is None or class_weight[c] > 0]
    if not kept:
        return 0.0
    power = {"square": 2, "simple": 1, "uniform": 0}[weighting]
    volumes = {c: rows[c][1].sum() for c in kept}
    finite = [1 / v**power for v in volumes.values() if v > 0] or [1.0]
    overlaps = totals = 0.0
    for c in kept:
        p, t = rows[c]
        w = (1 / volumes[c] ** power if volumes[c] > 0 else max(finite)) / max(finite)
        w *= 1.0 if class_weight is None else class_weight[c]
        overlaps += w * overlap(p, t)
        totals += w * (p.sum() + t.sum())
    return 1 - (2 * overlaps + smooth) / (totals + smooth)
