"""The networks of the zoo: a few hundred to a few thousand parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

PRIOR = -math.log(99)  # the bias of a head whose first probability is 0.01


def conv(
    masks: int = 1,
    *,
    width: int = 8,
    bias: float = 0.0,
    norm: bool = False,
    axes: int = 2,
    dropout: float = 0.0,
    last: Callable[[], nn.Module] = nn.Identity,
) -> nn.Sequential:
    """Return two convolutions and a head that sees 5 pixels across.

    Args:
        masks: or classes.
        bias: of the head.
        norm: batch normalisation.
        dropout: share of the features.
        last: a module behind the head.
    """
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    layers: list[nn.Module] = []
    for before in (1, width):
        layers += [layer(before, width, 3, padding=1), *([nn.BatchNorm2d(width)] if norm else []), nn.ReLU()]
    head = layer(width, masks, 1)
    assert head.bias is not None
    nn.init.constant_(head.bias, bias)
    return nn.Sequential(*layers, nn.Dropout(dropout), head, last())


def classifier(classes: int = 10) -> nn.Sequential:
    """Return a classifier of 8 x 8 images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, classes))


class TwoScales(nn.Module):
    """Logits at full and at half the size, as for deep supervision."""

    def __init__(self) -> None:
        super().__init__()
        self.body = conv(8)
        self.fine, self.coarse = nn.Conv2d(8, 1, 1), nn.Conv2d(8, 1, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return logits, the finest first."""
        features = self.body(images).relu()
        return [self.fine(features), self.coarse(nn.functional.avg_pool2d(features, 2))]


class Promptable(nn.Module):
    """Three masks of one object and the predicted IoU of each, as SAM gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = conv(3)
        self.score = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, 3, H, W) and predicted IoU (N, 3)."""
        logits: Tensor = self.body(images)
        return logits, self.score(logits.sigmoid().mean((2, 3)))


class Denoiser(nn.Module):
    """The noise in an image of 8 x 8 at a noise level."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(65, 64), nn.SiLU(), nn.Linear(64, 64))

    def forward(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Return the predicted noise (N, 64); noisy (N, 64), level (N, 1) in (0, 1)."""
        predicted: Tensor = self.body(torch.cat([noisy, level], 1))
        return predicted
