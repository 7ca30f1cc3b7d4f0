"""The data of the demo as a data set that every trainer reads in the same order, and its U-Net."""

from collections.abc import Sequence

import torch
from photographs import Region, draw_tiles
from torch import Tensor
from torch.utils.data import Dataset
from unet import UNet

BATCH = 16
LEARNING_RATE = 3e-3


class Tiles(Dataset[dict[str, Tensor]]):
    """Random tiles of the photographs, for a number of steps of BATCH tiles; the same for each seed."""

    def __init__(self, regions: Sequence[Region], steps: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        batches = [draw_tiles(regions, BATCH // len(regions), generator) for _ in range(steps)]
        self.images, self.masks = (torch.cat(part) for part in zip(*batches, strict=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.images[index], "mask": self.masks[index]}


def model() -> UNet:
    """Return a U-Net with the same weights on each call."""
    torch.manual_seed(0)
    return UNet()
