"""The loop in plain PyTorch."""

from pathlib import Path
from typing import Any

import torch
from tiles import BATCH, LEARNING_RATE, Tiles, model
from torch.utils.data import DataLoader

from lossreg.integrations import Tracked


def train(config: Any, tiles: Tiles, folder: Path) -> list[dict[str, float]]:
    """Return the loss and its components at each step."""
    unet = model()
    loss = Tracked(config)
    optimizer = torch.optim.Adam([*unet.parameters(), *loss.parameters()], LEARNING_RATE)
    steps = []
    for batch in DataLoader(tiles, BATCH):
        optimizer.zero_grad()
        loss(unet(batch["image"]), batch["mask"]).backward()
        optimizer.step()
        steps.append(loss.read("train"))
    return steps
