"""A small diffusion model of digits that gets their class, fine-tuned on digits, some with a wrong class."""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import math
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lossreg.records import Draw, RecordWriter
from which.training import EPOCHS, Training, evaluate, shares

BATCH, PRETRAINING, TUNED = 32, 150, 900  # examples of a step, epochs before, examples of the fine-tuning
DROPPED, NONE = 0.1, 10  # the share of steps without a class, and the class that stands for none
DRAWS = 4
KINDS = {"wrong class": 0.08, "corrupted": 0.02}


class Denoiser(nn.Module):
    """A network that predicts the noise in an image, from it, the noise level and the class."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(11, 32)
        self.first, self.second, self.last = nn.Linear(64 + 32 + 8, 256), nn.Linear(256, 256), nn.Linear(256, 64)

    def forward(self, noisy: Tensor, level: Tensor, label: Tensor) -> Tensor:
        """Return the noise, (B, 64)."""
        waves = level[:, None] * torch.tensor([1.0, 2.0, 4.0, 8.0]) * math.pi
        hidden = nn.functional.silu(self.first(torch.cat([noisy, waves.sin(), waves.cos(), self.label(label)], 1)))
        hidden = hidden + nn.functional.silu(self.second(hidden))
        noise: Tensor = self.last(hidden)
        return noise


def losses_of(model: nn.Module, images: Tensor, noise: Tensor, level: Tensor, labels: Tensor) -> Tensor:
    """Return the mean square error of the predicted noise, of each example."""
    angle = (level * math.pi / 2)[:, None]
    noisy = angle.cos() * images + angle.sin() * noise
    errors: Tensor = (model(noisy, level, labels) - noise).square().mean(1)
    return errors


def train(seed: int, folder: Path) -> Training:
    """Pretrain, then fine-tune for ten epochs with records of every digit, and evaluate after 1, 3 and 10."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    found = load_digits()
    images, labels = torch.tensor(found.data).float() / 8 - 1, torch.tensor(found.target).long()
    order = torch.randperm(len(images), generator=generator)
    model = Denoiser()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = order[TUNED:]
    for _ in range(PRETRAINING):
        for rows in before[torch.randperm(len(before), generator=generator)].split(2 * BATCH):
            _step(model, optimiser, images[rows], labels[rows], generator)
    images, labels = images[order[:TUNED]], labels[order[:TUNED]]
    planted = _spoil(images, labels, generator)
    names = [str(number) for number in range(TUNED)]
    training = Training(folder / "records", frozenset(names[number] for number in planted))
    step = 0
    with RecordWriter(training.records, run="train") as writer:
        for epoch in range(1, max(EPOCHS) + 1):
            for rows in torch.randperm(TUNED, generator=generator).split(BATCH):
                losses, level, dropped = _step(model, optimiser, images[rows], labels[rows], generator)
                ids = [names[row] for row in rows]
                writer.add(
                    losses, sample_ids=ids, step=step, epoch=epoch, condition=level, unconditional=dropped.tolist()
                )
                step += 1
            if epoch in EPOCHS:
                _evaluate(training, epoch, model, images, labels, seed)
    return training


def _step(
    model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    level = torch.rand(len(images), generator=generator)
    dropped = torch.rand(len(images), generator=generator) < DROPPED
    noise = torch.randn(images.shape, generator=generator)
    losses = losses_of(model, images, noise, level, labels.masked_fill(dropped, NONE))
    optimiser.zero_grad()
    losses.mean().backward()
    optimiser.step()
    return losses.detach(), level, dropped


def _evaluate(training: Training, epoch: int, model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    def compute(rows: Tensor, draw: Draw) -> dict[str, object]:
        some, level = images[rows], torch.full((len(rows),), float(draw.condition or 0))
        noise = draw.noise(rows, like=some)
        return {
            "loss": losses_of(model, some, noise, level, labels[rows]),
            "loss_unconditional": losses_of(model, some, noise, level, torch.full_like(rows, NONE)),
            "sample_id": rows,
        }

    def at_random(rows: Tensor, draw: Draw) -> dict[str, object]:
        some, level = images[rows], torch.rand(len(rows), generator=generator)
        noise = torch.randn(some.shape, generator=generator)
        return {"loss": losses_of(model, some, noise, level, labels[rows]), "sample_id": rows}

    generator = torch.Generator().manual_seed(seed)
    batches = torch.arange(len(images)).split(300)
    evaluate(training, "random", epoch, at_random, batches, draws=DRAWS)
    evaluate(training, "pass", epoch, compute, batches, draws=DRAWS, conditions=(0, 1), seed=seed)
    evaluate(training, "common", epoch, compute, batches, draws=DRAWS, conditions=(0, 1), noise="common", seed=seed)


def _spoil(images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[int, str]:
    planted = shares(len(images), KINDS, torch.randperm(len(images), generator=generator).tolist())
    for number, kind in planted.items():
        if kind == "wrong class":
            labels[number] = (labels[number] + int(torch.randint(1, 10, (), generator=generator))) % 10
        else:
            images[number] = images[number, torch.randperm(64, generator=generator)]
    return planted
