"""A small U-Net in plain PyTorch (Ronneberger et al. 2015)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (8, 16, 32, 64)  # from the finest level to the coarsest
STRIDE = 2 ** (len(CHANNELS) - 1)  # each side of an image must be divisible by it


class UNet(nn.Module):
    """U-Net from grey images (N, 1, H, W) to foreground logits (N, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(block(before, after) for before, after in pairwise((1, *CHANNELS)))
        self.up = nn.ModuleList(block(fine + coarse, fine) for fine, coarse in pairwise(CHANNELS))
        self.head = nn.Conv2d(CHANNELS[0], 1, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits of the size of the image."""
        levels = [self.down[0](image)]
        for down in self.down[1:]:
            levels.append(down(functional.max_pool2d(levels[-1], 2)))
        features = levels.pop()
        for up in reversed(self.up):
            enlarged = functional.interpolate(features, scale_factor=2.0)
            features = up(torch.cat([levels.pop(), enlarged], dim=1))
        logits: Tensor = self.head(features)
        return logits


def block(before: int, after: int) -> nn.Sequential:
    """Return two 3 x 3 convolutions: (N, before, H, W) to (N, after, H, W)."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        # The normalisation has its own bias.
        layers += [nn.Conv2d(channels, after, kernel_size=3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)
