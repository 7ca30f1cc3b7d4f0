"""A small U-Net in plain PyTorch (Ronneberger et al. 2015)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# Two poolings: image sides must be divisible by this.
STRIDE = 4


def block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Return two 3x3 convolutions, each normalised and rectified: (N, in, H, W) to (N, out, H, W)."""
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        # Batch normalisation subtracts the mean, so a bias would do nothing.
        layers += [nn.Conv2d(channels, channels_out, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(channels_out), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Map a grey image (N, 1, H, W) to foreground logits (N, 1, H, W).

    H and W must be multiples of STRIDE. About 50 thousand parameters at the default width.
    """

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.fine = block(1, width)
        self.middle = block(width, 2 * width)
        self.coarse = block(2 * width, 4 * width)
        self.up_middle = block(6 * width, 2 * width)
        self.up_fine = block(3 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits of the same height and width as the image."""
        fine = self.fine(image)
        middle = self.middle(functional.max_pool2d(fine, 2))
        coarse = self.coarse(functional.max_pool2d(middle, 2))
        middle = self.up_middle(join(coarse, middle))
        logits: Tensor = self.head(self.up_fine(join(middle, fine)))
        return logits


def join(coarse: Tensor, skip: Tensor) -> Tensor:
    """Double the height and width of coarse and append it to skip along the channels."""
    return torch.cat([functional.interpolate(coarse, scale_factor=2.0), skip], dim=1)
