"""Inputs of the losses of pytorch-toolbelt."""

import torch


def mask():
    return torch.randint(0, 2, (2, 1, 8, 8)).float()


INPUTS = {
    ("logits", "mask or class index"): lambda: (torch.randn(2, 1, 8, 8), mask()),
    ("logits", "mask"): lambda: (torch.randn(2, 1, 8, 8), mask()),
    ("logits", "class index"): lambda: (torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))),
    ("logits", "label"): lambda: (torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])),
    ("probabilities", "class index"): lambda: (torch.rand(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))),
    ("values", "values"): lambda: (torch.randn(4, 6) * 5, torch.randn(4, 6) * 5),
}
EXCLUDED: dict[str, str] = {}
