"""Broken trainings whose loss, its weights or its activation are at fault."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from zoo.broken_data import broken
from zoo.changes import of_targets
from zoo.configs import CLASSES, DICE_CE, loss_of, plain, scaled, terms
from zoo.data import digit_names, shapes
from zoo.faults import Scale, mean_error, of_background, raw_dice, unsafe_bce, without_root
from zoo.nets import classifier, conv


def in_half(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return a sum of squared errors in float16, whose greatest number is 65,504."""
    return ((logits * 1000 - targets).half() ** 2).sum()


HEAVY = {"name": "bce", "weight": 1e6}
STIFF = {"name": "dice", "params": {"smooth": 1e20}}
FAINT = shapes(radius=(1.5, 4.0), contrast=0.5)
LASTING = "Everything predicted must last for 400 updates, because networks begin near one half."
WEIGHTS = [
    broken("positives weigh 10,000", "Collapse", loss=loss_of("bce", pos_weight=1e4), data=FAINT, known=LASTING),
    broken(
        "positives weigh 10,000, batch 1",
        "Collapse",
        loss=loss_of("bce", pos_weight=1e4),
        batch=1,
        data=FAINT,
        known=LASTING,
    ),
    broken("positives weigh 0.0001", "Collapse", loss=loss_of("bce", pos_weight=1e-4)),
    broken("negatives weigh nothing", "ZeroLoss", "Collapse", about="focal, alpha=1", loss=loss_of("focal", alpha=1.0)),
    broken("positives weigh nothing", "Collapse", about="focal, alpha=0", loss=loss_of("focal", alpha=0.0)),
    broken("false positives weigh nothing", "ZeroLoss", "Collapse", loss=loss_of("tversky", alpha=0.0, beta=1.0)),
    broken("a class weighs nothing", "Collapse", loss=loss_of("cross_entropy", class_weight=[1, 1, 1, 0]), **CLASSES),
    broken("an inverted map of weights", "Collapse", loss=plain(of_background)),
    broken(
        "absolute error of rare pixels", "Collapse", data=FAINT, loss=plain(mean_error), net=partial(conv, bias=-2.0)
    ),
    broken("a component of weight 1e6", "ComponentDominance", loss=terms("dice", HEAVY), watches_loss=True),
    broken("a component without gradient", "DeadComponent", loss=terms("bce", STIFF), watches_loss=True),
    broken("a component that never changes", "DeadComponent", loss=terms("bce", STIFF)),
    broken("a loss times 0", "ZeroLoss", loss=scaled("bce", 0.0)),
    broken("a loss times 1e-12", "ZeroLoss", loss=scaled("bce_dice_focal", 1e-12)),
]
FLOAT: Any = {"spoil": of_targets(torch.Tensor.float)}
ACTIVATIONS = [
    broken("sigmoid twice", "doubt", net=partial(conv, last=nn.Sigmoid)),
    broken("sigmoid twice, batch 1", "doubt", net=partial(conv, last=nn.Sigmoid), batch=1, loss="bce"),
    broken(
        "softmax twice", "doubt", data=CLASSES["data"], loss=DICE_CE, net=partial(conv, 4, last=lambda: nn.Softmax(1))
    ),
    broken(
        "softmax twice, digits",
        "doubt",
        data=digit_names,
        batch=16,
        loss="cross_entropy",
        net=lambda: nn.Sequential(classifier(), nn.Softmax(1)),
    ),
    broken(
        "probabilities taken for logits",
        "doubt",
        about="by the monitor",
        net=partial(conv, last=nn.Sigmoid),
        loss="torch/bce",
        **FLOAT,
    ),
    broken("logits taken for probabilities", "doubt", about="activation='none'", monitor={"activation": "none"}),
    broken("logits scaled by 1e-6", "ConstantPrediction", net=partial(conv, last=partial(Scale, 1e-6))),
]
NUMBERS = [
    broken(
        "the logarithm of 0",
        "NonFinite",
        loss=plain(unsafe_bce),
        net=partial(conv, last=partial(Scale, 30.0)),
        data=shapes(contrast=8.0),
    ),
    broken("the root of 0", "NonFinite", loss=plain(without_root)),
    broken("overflow of float16", "NonFinite", loss=lambda: in_half),
    broken("a Dice of logits", "Saturation", "Spike", "Collapse", loss=plain(raw_dice)),
    broken("the sign of the loss", "Saturation", "Collapse", "NonFinite", loss=scaled("bce", -1.0)),
    broken(
        "Dice is minimised",
        "Saturation",
        "Collapse",
        about="the coefficient, not 1 minus it",
        loss=scaled("dice", -1.0),
    ),
]
BROKEN_LOSSES = WEIGHTS + ACTIVATIONS + NUMBERS
