"""Independent implementations of every loss in numpy float64: from logits and target to one value per example."""

from __future__ import annotations

from functools import partial

import numpy as np

from .cases import arrays
from .oracles_classes import CLASSES, generalized_dice
from .oracles_masks import MASK, background_tversky, rare_tversky
from .oracles_shapes import SHAPES

MIXTURE = {"bce_weight": 0.4, "dice_weight": 0.4, "focal_weight": 0.2}


def oracle(name):
    """Return a loss's oracle: `oracle(name)(input, target, task=..., **params)` is (N,), or (1,) with batch=True."""
    return partial(per_example, name)


def repeated(name):
    """Return the oracle of a call with weights 0, 1, 2, ...: each pixel counts as often as its weight."""

    def of_repeated(input, target, *, weight, **params):
        found = []
        for x, t, w in zip(
            input.flatten(2), target.flatten(target.ndim - input.ndim + 2), weight.flatten(1), strict=True
        ):
            times = w.long()
            found.append(oracle(name)(*(each.repeat_interleave(times, -1)[None] for each in (x, t)), **params))
        return np.concatenate(found)

    return of_repeated


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def per_example(name, input, target, *, task, valid=None, batch=False, **params):
    """Compute one value per example; `valid` (N, *) is False at ignored pixels, where the target may have any value."""
    if input.ndim == 2:
        input, target = input.unsqueeze(-1), target.unsqueeze(-1)
    shape = input.shape
    x, t = (a.reshape(shape) for a in arrays(input, target))
    valid = np.ones(shape, dtype=bool) if valid is None else np.broadcast_to(valid.numpy()[:, None], shape)
    if batch:
        x, t, valid = (np.concatenate(list(a), 1)[None] for a in (x, t, valid))
    p = softmax(x, 1) if task == "multiclass" else sigmoid(x)
    examples = zip(p, t, valid, strict=True)
    return np.array([of_example(name, list(zip(*example, strict=True)), task, **params) for example in examples])


def of_example(name, rows, task, class_weight=None, absent="score", **own):
    """Compute the value of one example from its masks [(p, t, valid), ...]."""
    if name == "generalized_dice":
        return generalized_dice([(p[v], t[v]) for p, t, v in rows], class_weight, absent, **own)
    if task == "multiclass" and name == "unified_focal":
        own = {"weight": 0.5, "delta": 0.6, "gamma": 0.5, "smooth": 1.0} | own
        weight, smooth = own.pop("weight"), own.pop("smooth")
        focal = of_example("asymmetric_focal", rows, task, class_weight, **own)
        tversky = of_example("asymmetric_focal_tversky", rows, task, class_weight, smooth=smooth, **own)
        return weight * focal + (1 - weight) * tversky
    if task == "multiclass" and name in CLASSES:
        p, t = (np.stack([row[k][row[2]] for row in rows]) for k in (0, 1))
        return CLASSES[name](p, t, class_weight, **own) if p.size else 0.0
    return of_masks(name, rows, task, class_weight, absent, own)


def of_masks(name, rows, task, class_weight, absent, own):
    """Return the weighted mean over masks."""
    total, weight = 0.0, 0.0
    for c, (p, t, v) in enumerate(rows):
        if not v.any() or (absent == "ignore" and t[v].sum() == 0):
            continue
        value = of_mask(name, c, (p, t, v), task, own)
        if t[v].sum() == 0:
            # Each component of the mixture has the policy's value, so the mixture has it times the sum of the weights.
            parts = sum(value for key, value in (MIXTURE | own).items() if key in MIXTURE)
            whole = parts if name == "bce_dice_focal" else 1.0
            value = {"zero": 0.0, "false_positives": whole * p[v].mean()}.get(absent, value)
        w = 1.0 if class_weight is None else class_weight[c]
        total, weight = total + w * value, weight + w
    return total / weight if weight > 0 else 0.0


def of_mask(name, c, row, task, own):
    """Compute the value of mask c of an example."""
    p, t, v = row
    if name in SHAPES:
        return SHAPES[name](p, t, v, **own)
    formula = MASK[name]
    if task == "multiclass" and name == "asymmetric_focal_tversky":
        formula = rare_tversky if c else background_tversky
    if isinstance(own.get("pos_weight"), list):
        own = own | {"pos_weight": own["pos_weight"][c]}
    return formula(p[v], t[v], **own)
