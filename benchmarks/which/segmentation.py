"""Segmentation of 800 tiles of four photographs, some with a wrong mask or a spoilt image."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from photographs import PHOTOGRAPHS, pixels
from torch import Tensor, nn
from torch.nn import functional
from unet import block

import lossreg
from lossreg.records import RecordWriter
from which.training import EPOCHS, Training, evaluate, shares

SIDE, EACH, BATCH = 24, 200, 16  # pixels, tiles of a photograph, tiles of a step
KINDS = dict.fromkeys(("shifted", "another tile's", "emptied", "inverted", "noise", "black"), 0.01)
LEAST = 0.1  # the share of foreground of a tile that is made bad: without foreground nothing can be emptied
NOISE = 1.0  # in standard deviations of the photograph


class SmallUNet(nn.Module):
    """A U-Net of two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse, self.up = block(1, 8), block(8, 16), block(24, 8)
        self.head = nn.Conv2d(8, 1, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits of the size of the image."""
        fine = self.fine(image)
        coarse = functional.interpolate(self.coarse(functional.max_pool2d(fine, 2)), scale_factor=2.0)
        logits: Tensor = self.head(self.up(torch.cat([fine, coarse], dim=1)))
        return logits


def train(seed: int, folder: Path) -> Training:
    """Train for ten epochs, with a record of every tile and an evaluation after 1, 3 and 10."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    images, masks, planted = _tiles(generator)
    names, datasets = [str(number) for number in range(len(images))], list(PHOTOGRAPHS)
    training = Training(folder / "records", frozenset(names[number] for number in planted))
    model, loss = SmallUNet(), lossreg.build("bce_dice_focal")
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)

    def compute(rows: Tensor) -> dict[str, object]:
        model.eval()
        logits = model(images[rows])
        losses = lossreg.evaluate(loss, logits, masks[rows]).per_example
        of = [datasets[int(row) // EACH] for row in rows]
        return {"loss": losses, "sample_id": rows, "dataset": of, "cleanlab": 1 - softmin(logits, masks[rows])}

    step = 0
    with RecordWriter(training.records, run="train") as writer:
        for epoch in range(1, max(EPOCHS) + 1):
            model.train()
            for rows in torch.randperm(len(images), generator=generator).split(BATCH):
                output = lossreg.evaluate(loss, model(images[rows]), masks[rows])
                optimiser.zero_grad()
                output.total.backward()
                optimiser.step()
                ids, of = [names[row] for row in rows], [datasets[int(row) // EACH] for row in rows]
                writer.add(output, sample_ids=ids, dataset=of, step=step, epoch=epoch)
                step += 1
            if epoch in EPOCHS:
                evaluate(training, "pass", epoch, compute, torch.arange(len(images)).split(100))
    return training


def softmin(logits: Tensor, masks: Tensor, temperature: float = 0.1) -> Tensor:
    """Return cleanlab's quality of each mask: the soft minimum of the probability of each pixel's label."""
    probability = logits.sigmoid()
    own = torch.where(masks > 0, probability, 1 - probability).flatten(1)
    return (own * ((1 - own) / temperature).softmax(1)).sum(1)


def _tiles(generator: torch.Generator) -> tuple[Tensor, Tensor, dict[int, str]]:
    images, masks = _cut(generator)
    order = torch.randperm(len(images), generator=generator).tolist()
    planted = shares(len(images), KINDS, [number for number in order if masks[number].mean() >= LEAST])
    clean = masks.clone()
    for number, kind in planted.items():
        if kind == "shifted":
            masks[number] = clean[number].roll((SIDE // 3, SIDE // 3), (-2, -1))
        elif kind == "another tile's":
            masks[number] = clean[(number + EACH // 2) % len(images)]
        elif kind in ("emptied", "inverted"):
            masks[number] = 0 if kind == "emptied" else 1 - clean[number]
        else:
            noise = torch.randn(images[number].shape, generator=generator)
            images[number] = noise if kind == "noise" else images.min()
    return images, masks, planted


def _cut(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return random tiles of each photograph with noise, and their masks: (N, 1, SIDE, SIDE)."""
    images, masks = [], []
    for image, target in _photographs():
        noisy = image + NOISE * torch.randn(image.shape, generator=generator)
        for _ in range(EACH):
            top, left = (int(torch.randint(side - SIDE + 1, (), generator=generator)) for side in image.shape[1:])
            window = (slice(None), slice(top, top + SIDE), slice(left, left + SIDE))
            images.append(noisy[window])
            masks.append(target[window].float())
    return torch.stack(images), torch.stack(masks)


@cache
def _photographs() -> list[tuple[Tensor, Tensor]]:
    """Return the photographs with unit variance, and their targets."""
    made = [make() for make in PHOTOGRAPHS.values()]
    return [(pixels((clean - clean.mean()) / clean.std(), np.float32), pixels(mask, np.uint8)) for clean, mask in made]
