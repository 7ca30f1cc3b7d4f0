"""Inputs of the losses of segmentation-models-pytorch."""

import torch


def mask():
    return torch.randint(0, 2, (2, 1, 8, 8)).float()


INPUTS = {
    ("logits", "mask or class index"): lambda: (torch.randn(2, 1, 8, 8), mask()),
    ("logits", "mask"): lambda: (torch.randn(2, 1, 8, 8), mask()),
    ("probabilities", "mask"): lambda: (torch.rand(2, 1, 8, 8), mask()),
    ("logits", "class index"): lambda: (torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))),
}
EXCLUDED: dict[str, str] = {}
