"""Inputs of the losses of pytorch-metric-learning."""

import torch


def embeddings():
    return torch.randn(8, 8)


def labels():
    """Return four classes in blocks of two, as smooth_ap requires."""
    return torch.arange(8) // 2


INPUTS = {
    ("embeddings", "labels"): lambda: (embeddings(), labels()),
    ("embeddings", "embeddings"): lambda: (embeddings(), embeddings()),
    ("embeddings", "none"): lambda: (embeddings(),),
    # Labels and mined indices come before the second view.
    "vicreg": lambda: (embeddings(), None, None, embeddings()),
}
EXCLUDED: dict[str, str] = {}
