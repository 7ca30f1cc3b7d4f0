"""Lightning: the loss is an attribute of the module, and a callback logs it."""

import csv
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from tiles import BATCH, LEARNING_RATE, Tiles, model
from torch import Tensor
from torch.utils.data import DataLoader

from lossreg.integrations import Tracked
from lossreg.integrations.lightning import LossCallback


class Segmenter(LightningModule):  # type: ignore[misc]  # without types where Lightning is not installed
    """A U-Net and its loss."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.unet = model()
        self.loss = Tracked(config)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        return self.loss(self.unet(batch["image"]), batch["mask"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), LEARNING_RATE)


def train(config: Any, tiles: Tiles, folder: Path) -> list[dict[str, float]]:
    """Return the loss and its components at each step, from the file of the logger."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # about workers of loaders, and its own use of torch
    logger = CSVLogger(folder, name="lightning", version="demo")
    options = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, log_every_n_steps=1, logger=logger, callbacks=[LossCallback()], **options
    )
    trainer.fit(Segmenter(config), DataLoader(tiles, BATCH))
    with (folder / "lightning" / "demo" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/total_loss"]]
    return [{key: float(row[key]) for key in row if key.startswith("train/") and row[key]} for row in rows]
