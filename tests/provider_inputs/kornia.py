"""Inputs of the losses of kornia."""

import torch

SIGNAL = torch.tensor([0.1, 0.9, 0.3, 0.6])


def _heat_maps():
    return torch.randn(2, 3, 16).softmax(-1).reshape(2, 3, 4, 4)


INPUTS = {
    ("logits", "class index"): lambda: (torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))),
    ("logits", "mask"): lambda: (torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 1, 8, 8)).float()),
    ("logits", "mask without channels"): lambda: (torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 8, 8))),
    ("images", "images"): lambda: (torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)),
    ("volumes", "volumes"): lambda: (torch.rand(2, 1, 8, 8, 8), torch.rand(2, 1, 8, 8, 8)),
    ("images", "none"): lambda: (torch.rand(2, 3, 8, 8),),
    ("inverse depth", "images"): lambda: (torch.rand(2, 1, 8, 8), torch.rand(2, 3, 8, 8)),
    ("flow", "flow"): lambda: (torch.randn(2, 8, 8, 2), torch.randn(2, 8, 8, 2)),
    ("heat maps", "heat maps"): lambda: (_heat_maps(), _heat_maps()),
    ("signals of the reference's shape", "none"): lambda: (SIGNAL.clone(),),
    ("images of the reference's shape", "none"): lambda: (SIGNAL.repeat(2, 1),),
    ("volumes of the reference's shape", "none"): lambda: (SIGNAL.repeat(2, 2, 1),),
    "hausdorff_er": lambda: (torch.rand(1, 2, 8, 8), torch.randint(0, 2, (1, 1, 8, 8))),
    "hausdorff_er_3d": lambda: (torch.rand(1, 2, 4, 8, 8), torch.randint(0, 2, (1, 1, 4, 8, 8))),
}
EXCLUDED: dict[str, str] = {}
