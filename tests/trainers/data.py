"""Data, a net, a config and the tools that the tests of every trainer share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

MIX = {"name": "weighted_sum", "params": {"terms": [{"weight": 20, "name": "focal"}, {"weight": 1, "name": "dice"}]}}


def trainer(name: str) -> ModuleType:
    """Import a trainer; without it, the file of tests is skipped: `lightning = trainer("lightning")` at its top.

    The environment of development has some trainers, for other tests. It skips these files, too.
    """
    if find_spec("lightning") is None:
        pytest.skip("the environment of trainers runs this: make test-trainers", allow_module_level=True)
    return pytest.importorskip(name, reason=f"{name} is not installed here: make test-trainers")


class Pictures(Dataset):
    """Pictures of 3 x size x size with binary masks 1 x size x size; the same on each call.

    An example is {"image", "mask", "id"} with the identifiers s0, s1, ...; with `pairs`, it is (image, mask).
    """

    def __init__(self, number: int = 16, size: int = 16, *, pairs: bool = False) -> None:
        self.images = torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(0))
        self.masks = self.images.mean(1, keepdim=True) > 0.4
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        if self.pairs:
            return self.images[index], self.masks[index]
        return {"image": self.images[index], "mask": self.masks[index], "id": f"s{index}"}


def loader(number: int = 16, batch_size: int = 4, *, pairs: bool = False) -> DataLoader:
    """Return batches of the pictures, in order."""
    return DataLoader(Pictures(number, pairs=pairs), batch_size=batch_size)


def net() -> nn.Module:
    """Return two convolutions, with the same parameters on each call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))


def mix(logits: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return total_loss, loss_focal and loss_dice of MIX for each example, by their formulas and without lossreg."""
    y = mask.to(logits.dtype)
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    alpha, wrong = torch.where(mask > 0, 0.25, 0.75), torch.where(mask > 0, 1 - p, p)
    focal = (alpha * wrong**2 * entropy).flatten(1).mean(1)
    overlap, p, y = ((p * y).flatten(1).sum(1), p.flatten(1).sum(1), y.flatten(1).sum(1))
    dice = 1 - (2 * overlap + 1) / (p + y + 1)
    return {"total_loss": 20 * focal + dice, "loss_focal": focal, "loss_dice": dice}


class Run(NamedTuple):
    """What a training gave."""

    model: nn.Module
    means: dict[str, float]  # over the examples, of total_loss, loss_focal and loss_dice
    steps: list[dict[str, float]]  # the same for each optimiser step
    gradients: list[torch.Tensor]  # of the last optimiser step, in the order of model.parameters()


def plain_loop(batches: Iterable[Any] | None = None, *, lr: float = 0.0, accumulate: int = 1, epochs: int = 1) -> Run:
    """Train net() on MIX by SGD in plain PyTorch, without lossreg: the result that each trainer must reach.

    Args:
        batches: of Pictures, in either form; `loader()` by default.
        lr: 0 keeps the parameters, so `means` is an evaluation.
        accumulate: batches for an optimiser step, whose gradient is the mean of theirs. They must divide the batches.
    """
    batches = list(loader() if batches is None else batches)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    seen: list[dict[str, torch.Tensor]] = []
    steps, gradients = [], []
    for _ in range(epochs):
        for number, batch in enumerate(batches, 1):
            image, mask = (batch["image"], batch["mask"]) if isinstance(batch, Mapping) else batch
            values = mix(model(image), mask)
            (values["total_loss"].mean() / accumulate).backward()
            seen.append({name: value.detach() for name, value in values.items()})
            if number % accumulate == 0:
                gradients = [p.grad.clone() for p in model.parameters()]
                steps.append(_means(seen[-accumulate:]))
                optimizer.step()
                optimizer.zero_grad()
    return Run(model, _means(seen), steps, gradients)


def _means(rows: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    return {name: torch.cat([row[name] for row in rows]).double().mean().item() for name in rows[0]}


_SCHEMAS = []  # they exist as long as their library does


def define_torchvision_operators() -> None:
    """Define the schemas of torchvision's compiled operators, which it needs on import. A CPU build has none."""
    if torch.cuda.is_available() or hasattr(torch.ops.torchvision, "nms"):
        return
    _SCHEMAS.append(torch.library.Library("torchvision", "DEF"))
    for operator in ("nms", "qnms"):
        _SCHEMAS[-1].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def mmseg_heads() -> ModuleType:
    """Import mmseg.models.decode_heads, whose losses come from a config; without mmcv's compiled operators.

    mmcv-lite has none, and some heads import a function that looks them up. None is called here.
    """
    missing = ModuleType("mmcv._ext")
    missing.__getattr__ = _operator
    sys.modules.setdefault("mmcv._ext", missing)
    return import_module("mmseg.models.decode_heads")


def _operator(name: str) -> Any:
    """Return any operator, which cannot be called; but no attribute of modules, such as __file__."""
    if name.startswith("__"):
        raise AttributeError(name)
    return NotImplemented
