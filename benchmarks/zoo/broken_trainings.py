"""Broken trainings whose optimizer, network or loop is at fault."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from zoo.broken_data import AT_RANDOM, SMALL, broken
from zoo.changes import in_epoch, of_images
from zoo.configs import plain, torch_bce
from zoo.faults import NAN, Forgetful, Negative, OfBatch, burst, jump, of_zeros, with_biases
from zoo.nets import conv
from zoo.other_courses import Diffusion
from zoo.training import EPOCH, Training, Validation, sgd


def stale() -> nn.Module:
    """Return a network whose normalisation never updates its running statistics."""
    net = conv(norm=True)
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.0
    return net


RUINED = ("Saturation", "Collapse", "ConstantPrediction", "NonFinite", "Spike")
LUCKY = "With the other seeds the network falls apart at once; with these it goes on learning."
LOST: Any = {"net": partial(conv, bias=-12.0), "rate": 1e-5, "loss": "bce"}
RATES = [
    broken("Adam with a rate of 10", *RUINED, rate=10.0, known=LUCKY),
    broken("Adam with a rate of 10, batch 1", *RUINED, rate=10.0, batch=1, loss="bce", known=LUCKY),
    broken("SGD with a rate of 1000", *RUINED, rate=1000.0, optimizer=sgd(), loss="bce"),
    broken("the rate jumps to 10", *RUINED, about="after 200 updates", schedule=jump(200, 1000.0), begins=200),
    broken("a burst that kills the ReLUs", *RUINED, schedule=burst(20, 3000.0)),
    broken("a negative rate", *RUINED, schedule=lambda step: -1.0),
    broken("a rate of NaN", "NonFinite", schedule=lambda step: NAN if step > 30 else 1.0, begins=30),
    broken(
        "weight decay of 10",
        "ConstantPrediction",
        "Collapse",
        optimizer=lambda given, rate: torch.optim.AdamW(given, lr=rate, weight_decay=50.0),
    ),
    broken(
        "gradients never set to zero",
        *RUINED,
        optimizer=lambda given, rate: Forgetful(given, lr=rate),
        rate=1.0,
        loss="bce",
    ),
    broken(
        "diffusion with a rate of 10",
        "Spike",
        "NonFinite",
        course=Diffusion,
        batch=8,
        schedule=jump(200, 1000.0),
        begins=200,
    ),
    broken(
        "diffusion with a NaN in an image",
        "NonFinite",
        course=Diffusion,
        batch=8,
        spoil=lambda images, targets, step: (images * (NAN if step == 60 else 1), targets),
        begins=60,
    ),
]
NETS = [
    broken("dead ReLUs", "ConstantPrediction", net=with_biases(-100.0)),
    broken("dead ReLUs, batch 1", "ConstantPrediction", net=with_biases(-100.0), batch=1),
    broken("weights of zeros", "ConstantPrediction", net=of_zeros),
    broken("everything dropped", "ConstantPrediction", net=partial(conv, dropout=1.0)),
    broken("a mean over the batch", "ConstantPrediction", net=partial(conv, last=OfBatch)),
    broken("logits never above 0", "Collapse", net=partial(conv, last=Negative), loss="bce"),
    broken("a head far below 0", "Collapse", **LOST),
    broken("a head far above 0", "Collapse", **{**LOST, "net": partial(conv, bias=12.0)}),
    broken("a head far below 0, batch 1", "Collapse", batch=1, **LOST),
    broken("a head far below 0, the step restarts", "Collapse", numbered=in_epoch(EPOCH), **LOST),
    broken("a head far below 0, in a validation", "Collapse", course=Validation, **LOST),
    broken("a head far below 0, a loss without per-example values", "Collapse", **{**LOST, "loss": plain(torch_bce)}),
    broken(
        "nothing but noise",
        "Collapse",
        about="images without any trace of the mask",
        data=SMALL,
        loss="bce",
        spoil=of_images(torch.randn_like),
    ),
    broken(
        "nothing but noise, the step restarts",
        "Collapse",
        data=SMALL,
        loss="bce",
        spoil=of_images(torch.randn_like),
        numbered=in_epoch(EPOCH),
    ),
    broken(
        "nothing but noise, dice", *RUINED, data=SMALL, loss="dice", known=AT_RANDOM, spoil=of_images(torch.randn_like)
    ),
    broken(
        "validation with stale statistics",
        *RUINED,
        about="normalisation without momentum, images around 30",
        net=stale,
        course=Validation,
        spoil=of_images(lambda images: 10 * images + 30),
    ),
]
BROKEN_TRAININGS: list[Training] = RATES + NETS
