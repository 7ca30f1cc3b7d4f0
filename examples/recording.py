"""Records of the loss of every tile of the validation regions, after each epoch: they show the hardest tiles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from photographs import TILE, Region
from PIL import Image
from torch import Tensor, nn

import lossreg
from lossreg.records import RecordWriter


@dataclass(frozen=True)
class Tile:
    """One tile of a region: image and target (1, TILE, TILE), and the picture of it that a report can show."""

    dataset: str
    sample_id: str
    path: Path
    image: Tensor
    target: Tensor


def cut(regions: Sequence[Region], folder: Path) -> list[Tile]:
    """Return the tiles that cover every region without overlap, each saved as a PNG in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [tile for region in regions for tile in _tiles(region, folder)]


def _tiles(region: Region, folder: Path) -> Iterator[Tile]:
    low, high = region.image.quantile(torch.tensor([0.01, 0.99]))
    grey = ((region.image[0] - low) / (high - low)).clamp(0, 1).mul(255).to(torch.uint8)
    height, width = grey.shape
    for top in range(0, height - TILE + 1, TILE):
        for left in range(0, width - TILE + 1, TILE):
            window = (slice(top, top + TILE), slice(left, left + TILE))
            path = folder / f"{region.name}-{top}-{left}.png"
            Image.fromarray(tinted(grey[window], region.target[0, *window]).numpy()).save(path)
            name = f"{region.name} at {top}, {left}"
            yield Tile(region.name, name, path, region.image[:, *window], region.target[:, *window])


def tinted(grey: Tensor, target: Tensor) -> Tensor:
    """Return an (H, W, 3) picture, in which the target is tinted."""
    tint = torch.tensor([230, 159, 0], dtype=torch.uint8)
    return torch.where(target[..., None] > 0, grey[..., None] // 2 + tint // 2, grey[..., None])


@torch.no_grad()
def record(model: nn.Module, step: int, *, loss: nn.Module, tiles: Sequence[Tile], writer: RecordWriter) -> None:
    """Add the loss of every tile at this step to the records."""
    model.eval()
    for start in range(0, len(tiles), 64):
        batch = tiles[start : start + 64]
        images = torch.stack([tile.image for tile in batch])
        targets = torch.stack([tile.target for tile in batch])
        writer.add(
            lossreg.evaluate(loss, model(images), targets),
            sample_ids=[tile.sample_id for tile in batch],
            dataset=[tile.dataset for tile in batch],
            path=[tile.path for tile in batch],
            split="validation",
            step=step,
        )
