"""Draw docs/images/empty_masks.svg: loss and push of an empty mask, against the probability predicted there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rcParams
from matplotlib.figure import Figure

import lossreg

rcParams["svg.fonttype"] = "none"  # text stays text: small files, and the reader's font
SIZE = 64  # pixels of a side
LOSSES: dict[str, tuple[dict[str, Any], str]] = {  # label -> config, colour that is readable on white and on black
    "dice": ({"name": "dice"}, "#d1495b"),
    "dice, absent: ignore": ({"name": "dice", "params": {"absent": "ignore"}}, "#8d8d8d"),
    "dice, absent: false_positives": ({"name": "dice", "params": {"absent": "false_positives"}}, "#2a9d8f"),
    "bce": ({"name": "bce"}, "#4f7cac"),
    "bce_dice_focal": ({"name": "bce_dice_focal"}, "#c98a1b"),
}
GREY = "#808080"  # of text and axes
FLOOR = 1e-9  # of the push, which a logarithm shows


def values(config: dict[str, Any], probabilities: list[float]) -> tuple[list[float], list[float]]:
    """Return the loss of an empty mask at each probability, and the sum of its gradients over the pixels."""
    loss, losses, pushes = lossreg.build(config), [], []
    for probability in probabilities:
        level = torch.logit(torch.tensor(probability))
        logits = level.expand(1, 1, SIZE, SIZE).clone().requires_grad_()
        value = loss(logits, torch.zeros(1, 1, SIZE, SIZE))
        (slope,) = torch.autograd.grad(value, logits)
        losses.append(value.item())
        pushes.append(max(slope.sum().item(), FLOOR))
    return losses, pushes


def draw() -> Figure:
    """Draw two panels, one above the other, so that a phone shows them large enough."""
    probabilities = [round(float(p), 6) for p in np.geomspace(1e-4, 0.9, 40)]
    figure = Figure(figsize=(5.2, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True)
    for label, (config, colour) in LOSSES.items():
        losses, pushes = values(config, probabilities)
        top.plot(probabilities, losses, color=colour, label=label, linewidth=2)
        bottom.plot(probabilities, pushes, color=colour, linewidth=2)
    top.set(xscale="log", ylabel="loss", title="An image without objects")
    bottom.set(yscale="log", ylabel="push towards nothing", xlabel="probability that is predicted everywhere")
    for axes in (top, bottom):
        axes.patch.set_alpha(0)
        axes.tick_params(colors=GREY)
        axes.grid(color=GREY, alpha=0.25)
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            text.set_color(GREY)
        for spine in axes.spines.values():
            spine.set_color(GREY)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=GREY)
    figure.patch.set_alpha(0)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})
