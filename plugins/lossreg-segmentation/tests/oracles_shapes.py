"""The formulas of one mask that depend on its shape, pixel by pixel in numpy float64; ignored pixels are outside."""

from __future__ import annotations

from itertools import product

import numpy as np


def brute_force(mask, spacing=None):
    """Return the distance of each pixel to the nearest one of the other value, by all pairs; negative inside."""
    found = np.zeros(mask.shape)
    size = np.ones(mask.ndim) if spacing is None else np.array(spacing)
    if mask.all() or not mask.any():
        return found
    for at in np.ndindex(mask.shape):
        others = np.argwhere(mask != mask[at])
        distance = np.sqrt((((others - np.array(at)) * size) ** 2).sum(1)).min()
        found[at] = -distance if mask[at] else distance
    return found


def boundary(p, t, valid, spacing=None):
    return np.sum(p * brute_force((t > 0.5) & valid, spacing) * valid) / valid.sum()


def hausdorff_dt(p, t, valid, alpha=2.0, spacing=None):
    field = sum(np.abs(brute_force((mask > 0.5) & valid, spacing)) ** alpha for mask in (p, t))
    return np.sum((p - t) ** 2 * field * valid) / valid.sum()


def hausdorff_er(p, t, valid, alpha=2.0, erosions=10):
    """Compute the loss with an error of 0 at ignored pixels and beyond the border."""
    error, total = (p - t) ** 2 * valid, 0.0
    for k in range(1, erosions + 1):
        eroded = np.zeros_like(error)
        for at in np.ndindex(error.shape):
            cross = sum(neighbours(error, at, square=False)) / (2 * error.ndim + 1)
            eroded[at] = 2 * max(cross - 0.5, 0)
        error = eroded * valid
        total += error * k**alpha
    return np.sum(total) / valid.sum()


def neighbours(p, at, square):
    """Return the values of a pixel and its neighbours: along the axes, or of the whole square around it."""
    for step in product((-1, 0, 1), repeat=p.ndim):
        beside = tuple(a + s for a, s in zip(at, step, strict=True))
        inside = all(0 <= b < n for b, n in zip(beside, p.shape, strict=True))
        if inside and (square or sum(map(abs, step)) <= 1):
            yield p[beside]


def extremum(p, best, square):
    found = np.zeros_like(p)
    for at in np.ndindex(p.shape):
        found[at] = best(neighbours(p, at, square))
    return found


def skeleton(p, iterations):
    """Compute algorithm 1 of Shit et al."""
    found = np.zeros_like(p)
    for _ in range(iterations + 1):
        eroded = extremum(p, min, square=False)
        opened = extremum(eroded, max, square=True)
        found = found + (1 - found) * np.maximum(p - opened, 0)
        p = eroded
    return found


def cldice(p, t, valid, iterations=10, smooth=1.0):
    p, t = p * valid, t * valid
    lines = skeleton(p, iterations), skeleton(t, iterations)
    precision, sensitivity = (
        ((line * mask).sum() + smooth) / (line.sum() + smooth) for line, mask in zip(lines, (t, p), strict=True)
    )
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def boundary_dou(p, t, valid, smooth=1e-5):
    """Count the edge by looking around each pixel of the mask."""
    inside = (t > 0.5) & valid
    padded = np.pad(inside, 1)
    inner = inside.copy()
    for axis in range(t.ndim):
        for by in (-1, 1):
            inner &= np.roll(padded, by, axis)[(slice(1, -1),) * t.ndim]
    a = (
        min(2 * (1 - ((inside & ~inner).sum() + smooth) / (inside.sum() + smooth)) - 1, 0.8)
        if inside.any() or smooth
        else -1
    )
    p, t = p * valid, t * valid
    whole, both = (p**2).sum() + (t**2).sum() + smooth, (p * t).sum()
    return (whole - 2 * both) / (whole - (1 + a) * both)


SHAPES = {formula.__name__: formula for formula in (boundary, boundary_dou, hausdorff_dt, hausdorff_er, cldice)}
