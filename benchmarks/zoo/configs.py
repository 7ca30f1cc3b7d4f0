"""Losses as the trainings name them: configs, functions of torch, and calls with further arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import lossreg
from zoo.data import shapes
from zoo.nets import conv

Function = Callable[[Tensor, Tensor], Tensor]

CLASSES: dict[str, Any] = {"data": shapes(classes=4, noise=0.3), "net": lambda: conv(4, width=12)}
DICE_CE = {"name": "weighted_sum", "params": {"terms": ["dice", "cross_entropy"]}}
IGNORES: dict[str, Any] = {"monitor": {"ignore_index": 255}}


def loss_of(name: str, **params: Any) -> dict[str, Any]:
    """Return the config of a loss with parameters."""
    return {"name": name, "params": params}


def terms(*given: Any) -> dict[str, Any]:
    """Return the config of a weighted sum."""
    return loss_of("weighted_sum", terms=list(given))


def ignoring(name: str, **params: Any) -> dict[str, Any]:
    """Return the config of a loss that ignores 255."""
    return loss_of(name, ignore_index=255, **params)


def plain(function: Function) -> Callable[[], Function]:
    """Return a maker of a function of torch as a loss, whose targets are floats."""
    return lambda: lambda logits, targets: function(logits, targets.float())


def scaled(config: Any, factor: float) -> Callable[[], Function]:
    """Return a maker of a loss times a factor."""

    def make() -> Function:
        loss = lossreg.build(config)
        return lambda logits, targets: factor * lossreg.evaluate(loss, logits, targets).total

    return make


def torch_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Return torch's cross-entropy, which takes any target."""
    return functional.binary_cross_entropy_with_logits(logits, targets)


def prompted(loss: nn.Module, outputs: tuple[Tensor, Tensor], targets: Tensor) -> tuple[object, Tensor]:
    """Return the loss of SAM's outputs, and the mask whose predicted IoU is the highest."""
    logits, scores = outputs
    best = scores.argmax(1)
    return lossreg.evaluate(loss, logits, targets, scores), logits[torch.arange(len(logits)), best].unsqueeze(1)


def weighing(draw: Callable[[int], Tensor]) -> Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return a call of a loss of each example, with random weights."""
    return lambda loss, outputs, targets: (loss(outputs, targets) * draw(len(targets)), outputs)
