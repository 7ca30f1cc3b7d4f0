"""Inputs of timm's losses: four images, five classes."""

import torch

INPUTS = {
    ("logits", "class index"): lambda: (torch.randn(4, 5), torch.randint(0, 5, (4,))),
    ("logits", "class index or multi-hot labels"): lambda: (torch.randn(4, 5), torch.randint(0, 5, (4,))),
    ("logits", "probabilities"): lambda: (torch.randn(4, 5), torch.randn(4, 5).softmax(1)),
    ("logits", "multi-hot labels"): lambda: (torch.randn(4, 5), torch.randint(0, 2, (4, 5)).float()),
    ("logits of the splits, one after the other", "class index"): lambda: (
        torch.randn(3 * 4, 5),
        torch.randint(0, 5, (3 * 4,)),
    ),
}
EXCLUDED: dict[str, str] = {}
