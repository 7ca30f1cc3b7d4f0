"""transformers: `attach` gives a Trainer its loss, and its log the components."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tiles import BATCH, LEARNING_RATE, Tiles, model
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainingArguments

from lossreg.integrations import Tracked
from lossreg.integrations.transformers import attach


class Model(nn.Module):
    """The U-Net, with its output under a name, as models of transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = model()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits."""
        return {"logits": self.unet(image)}


def collate(tiles: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return a batch, with the masks under the name that the Trainer expects of targets."""
    return {"image": torch.stack([t["image"] for t in tiles]), "labels": torch.stack([t["mask"] for t in tiles])}


def train(config: Any, tiles: Tiles, folder: Path) -> list[dict[str, float]]:
    """Return the loss and its components at each step, from the log of the Trainer."""
    unet = Model()
    arguments = TrainingArguments(
        str(folder / "transformers"), num_train_epochs=1, per_device_train_batch_size=BATCH, max_grad_norm=0,
        train_sampling_strategy="sequential", logging_steps=1, save_strategy="no", report_to=[], use_cpu=True,
        disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    adam = torch.optim.Adam(unet.parameters(), LEARNING_RATE)
    constant = torch.optim.lr_scheduler.ConstantLR(adam, factor=1)
    options = {"train_dataset": tiles, "data_collator": collate, "optimizers": (adam, constant)}
    trainer = attach(Trainer(unet, arguments, **options), Tracked(config))
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "total_loss" in row]
    return [{f"train/{key}": row[key] for key in row if key.startswith(("total_loss", "loss_"))} for row in rows]
