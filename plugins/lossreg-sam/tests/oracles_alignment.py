"""Regions with their texts, and an independent contrast: in Python numbers, one pair at a time."""

from __future__ import annotations

import math

import torch

from .oracles import step

CAPTION = torch.tensor([7, 3, 7, 7, 3])
VALID = torch.tensor([True, True, False, True, True])


def pairs(size=5, width=4, dtype=torch.float64, seed=0):
    """Return region and text embeddings (N, D)."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(2, size, width, generator=generator, dtype=torch.float64).to(dtype)
    return made[0].clone().requires_grad_(), made[1].clone().requires_grad_()


def scene(**options):
    """Return masks, target, predicted IoU and embeddings of five objects; the third is empty."""
    x, t, iou = step(5, **options)
    t[2] = 0
    return x.requires_grad_(), t, iou.requires_grad_(), *pairs(dtype=x.dtype)


def unit(x):
    length = max(math.sqrt(sum(value * value for value in x)), 1 / 256)
    return [value / length for value in x]


def one_way(query, keys, captions, valid, scale):
    """Compute -mean of log softmax over the positive keys, for each valid query."""
    found = []
    for i, q in enumerate(query):
        if not valid[i]:
            found.append(0.0)
            continue
        others = [j for j in range(len(keys)) if valid[j]]
        similar = {j: scale * sum(a * b for a, b in zip(q, keys[j], strict=True)) for j in others}
        top = max(similar.values())
        total = top + math.log(sum(math.exp(value - top) for value in similar.values()))
        positive = [j for j in others if captions[j] == captions[i]]
        found.append(-sum(similar[j] - total for j in positive) / len(positive))
    return found


def contrast(region, text, caption=None, valid=None, temperature=0.07):
    """Compute the value of each pair."""
    size = len(region)
    captions = list(range(size)) if caption is None else caption.tolist()
    counted = [True] * size if valid is None else valid.tolist()
    r, t = ([unit(row) for row in x.detach().double().tolist()] for x in (region, text))
    there, back = (one_way(a, b, captions, counted, 1 / temperature) for a, b in ((r, t), (t, r)))
    return [(a + b) / 2 for a, b in zip(there, back, strict=True)]
