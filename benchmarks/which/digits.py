"""Classification of scikit-learn's digits, some with a wrong label or shuffled pixels; every second digit is noisy."""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lossreg.records import RecordWriter
from which.training import EPOCHS, Training, evaluate, shares

BATCH, NOISE = 32, 0.3
KINDS = {"random label": 0.04, "next label": 0.04, "shuffled pixels": 0.02}


def train(seed: int, folder: Path) -> Training:
    """Train for ten epochs, with a record of every digit and an evaluation after 1, 3 and 10."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    images, labels, planted = _digits(generator)
    names = [str(number) for number in range(len(images))]
    training = Training(folder / "records", frozenset(names[number] for number in planted))
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def compute(rows: Tensor) -> dict[str, object]:
        logits = model(images[rows])
        losses = cross_entropy(logits, labels[rows], reduction="none")
        return {
            "loss": losses,
            "sample_id": rows,
            "dataset": [_dataset(row) for row in rows],
            "cleanlab": 1 - logits.softmax(1).gather(1, labels[rows, None])[:, 0],  # its self-confidence
        }

    step = 0
    with RecordWriter(training.records, run="train") as writer:
        for epoch in range(1, max(EPOCHS) + 1):
            for rows in torch.randperm(len(images), generator=generator).split(BATCH):
                logits = model(images[rows])
                losses = cross_entropy(logits, labels[rows], reduction="none")
                optimiser.zero_grad()
                losses.mean().backward()
                optimiser.step()
                writer.add(
                    losses,
                    sample_ids=[names[row] for row in rows],
                    dataset=[_dataset(row) for row in rows],
                    step=step,
                    epoch=epoch,
                    columns={"margin": margin(logits.detach(), labels[rows]).tolist()},
                )
                step += 1
            if epoch in EPOCHS:
                evaluate(training, "pass", epoch, compute, torch.arange(len(images)).split(500))
    return training


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how far the logit of each label is above the highest other one; AUM is its mean over epochs."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)


def _dataset(row: Tensor) -> str:
    return "noisy" if row % 2 else "clean"


def _digits(generator: torch.Generator) -> tuple[Tensor, Tensor, dict[int, str]]:
    found = load_digits()
    images, labels = torch.tensor(found.data).float() / 16, torch.tensor(found.target).long()
    images[1::2] += NOISE * torch.randn(images[1::2].shape, generator=generator)
    planted = shares(len(images), KINDS, torch.randperm(len(images), generator=generator).tolist())
    for number, kind in planted.items():
        if kind == "shuffled pixels":
            images[number] = images[number, torch.randperm(64, generator=generator)]
        else:
            other = 1 if kind == "next label" else int(torch.randint(1, 10, (), generator=generator))
            labels[number] = (labels[number] + other) % 10
    return images, labels, planted
