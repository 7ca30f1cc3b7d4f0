"""Inputs of the losses of MONAI."""

import torch
from torch.nn.functional import one_hot


def _classes(count=2):
    return torch.randint(0, count, (2, 8, 8))


def _one_hot(count=2):
    return one_hot(_classes(count), count).movedim(-1, 1).float()


def _images(*sizes):
    return torch.rand(2, 1, *sizes), torch.rand(2, 1, *sizes)


def _boxes():
    corners = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 4.0]])
    return corners + 0.5, corners


INPUTS = {
    ("probabilities", "mask"): lambda: (torch.rand(2, 2, 8, 8), _one_hot()),
    ("probabilities", "one-hot mask"): lambda: (torch.rand(2, 2, 8, 8).softmax(1), _one_hot()),
    ("logits", "mask"): lambda: (torch.randn(2, 2, 8, 8), _one_hot()),
    ("logits", "one-hot mask"): lambda: (torch.randn(2, 3, 8, 8), _one_hot(3)),
    ("logits", "class index"): lambda: (torch.randn(2, 3, 8, 8), _classes(3)),
    ("images", "images"): lambda: _images(16, 16),
    ("volumes", "volumes"): lambda: _images(6, 6, 6),
    ("displacements", "none"): lambda: (torch.randn(2, 2, 8, 8),),
    ("boxes", "boxes"): _boxes,
    ("embeddings", "embeddings"): lambda: (torch.randn(4, 6), torch.randn(4, 6)),
    "aucm": lambda: (torch.randn(6, 1), torch.tensor([[0.0], [1.0], [1.0], [0.0], [0.0], [1.0]])),
    "patch_adversarial": lambda: (torch.randn(2, 1, 4, 4), True, True),
    "sure": lambda: (torch.nn.functional.softplus, *_images(8, 8)),
    "deep_supervision": lambda: (torch.rand(2, 2, 8, 8), _one_hot()),
    "masked": lambda: (torch.rand(2, 2, 8, 8), _one_hot(), torch.ones(2, 1, 8, 8)),
    "masked_dice": lambda: (torch.rand(2, 2, 8, 8), _one_hot(), torch.ones(2, 1, 8, 8)),
    "multi_scale": lambda: _images(8, 8),
}
EXCLUDED = {"hovernet": "it takes dicts by branch; plugins/lossreg-monai/tests calls it"}
