"""Records of the loss of every tile of the validation regions, after each epoch: they show the hardest tiles."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """One tile of a region: image and target (1, TILE, TILE), and the file of its picture for a report."""

    dataset: str
    sample_id: str
    path: Path
    image: Tensor
    target: Tensor
    window: tuple[slice, slice]


def cut(regions: Sequence[Region], folder: Path) -> list[Tile]:
    """Return the tiles that cover every region without overlap; save image and target of each in the folder."""
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
            image, target = region.image[:, *window], region.target[:, *window]
            Image.fromarray(grey[window].numpy()).save(path)
            Image.fromarray(target[0].numpy()).save(path.with_stem(f"{path.stem}-target"))
            yield Tile(region.name, f"{region.name} at {top}, {left}", path, image, target, window)


def drawn(tiles: Sequence[Tile], predictions: Mapping[str, Tensor]) -> Callable[[Mapping[str, object]], Tensor]:
    """Return the function that gives a report the prediction for a tile, cut from those for whole regions."""
    by_name = {tile.sample_id: predictions[tile.dataset][0, *tile.window] for tile in tiles}
    return lambda example: by_name[str(example["sample_id"])]


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
