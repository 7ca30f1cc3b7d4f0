"""Inputs of the losses of torch.nn."""

import torch


def signs(*shape):
    return torch.randint(0, 2, shape) * 2.0 - 1


def triplet():
    return torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 8)


def sequences():
    """Return six steps of two examples; each has three of the classes 1 to 4, and 0 is the blank."""
    steps = torch.randn(6, 2, 5).log_softmax(-1)
    return steps, torch.randint(1, 5, (2, 3)), torch.tensor([6, 6]), torch.tensor([3, 3])


INPUTS = {
    ("values", "values"): lambda: (torch.randn(4, 3), torch.rand(4, 3)),
    ("log-rates", "counts"): lambda: (torch.randn(4, 3), torch.randint(0, 5, (4, 3))),
    ("values", "values, and predicted variances"): lambda: (torch.randn(4, 3), torch.randn(4, 3), torch.rand(4, 3)),
    ("log-probabilities", "probabilities"): lambda: (
        torch.randn(4, 5).log_softmax(1),
        torch.randn(4, 5).softmax(1),
    ),
    ("probabilities", "mask"): lambda: (torch.rand(2, 1, 8, 8), torch.randint(0, 2, (2, 1, 8, 8)).float()),
    ("logits", "mask"): lambda: (torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 1, 8, 8)).float()),
    ("logits", "class index"): lambda: (torch.randn(4, 5), torch.randint(0, 5, (4,))),
    ("log-probabilities", "class index"): lambda: (torch.randn(4, 5).log_softmax(1), torch.randint(0, 5, (4,))),
    ("embeddings", "class index"): lambda: (torch.randn(4, 16), torch.randint(0, 5, (4,))),
    ("logits", "multi-hot labels"): lambda: (torch.randn(4, 5), torch.randint(0, 2, (4, 5)).float()),
    ("logits", "signs"): lambda: (torch.randn(4, 5), signs(4, 5)),
    ("logits", "class indices, ended by -1"): lambda: (torch.randn(2, 4), torch.tensor([[3, 0, -1, 1], [2, -1, 0, 0]])),
    ("distances", "signs"): lambda: (torch.rand(4, 5), signs(4, 5)),
    ("embeddings, in pairs", "signs"): lambda: (torch.randn(4, 8), torch.randn(4, 8), signs(4)),
    ("scores, in pairs", "signs"): lambda: (torch.randn(4), torch.randn(4), signs(4)),
    ("embeddings", "embeddings of a positive and of a negative"): triplet,
    "ctc": sequences,
}
EXCLUDED: dict[str, str] = {}
