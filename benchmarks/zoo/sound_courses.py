"""Sound trainings with many optimizers, schedules and loops."""

from __future__ import annotations

import torch
from torch import nn

from zoo.changes import fainter, flipped, in_epoch, of_images, of_targets, restarts, warm_up
from zoo.configs import CLASSES, DICE_CE, loss_of, weighing
from zoo.data import shapes
from zoo.nets import PRIOR, conv
from zoo.other_courses import Diffusion, FineTuning
from zoo.training import EPOCH, Training, Validation, sgd


def quiet(bias: float) -> nn.Sequential:
    """Return a network whose first logits hardly differ from its bias."""
    net = conv(bias=bias)
    head = net[-2]
    assert isinstance(head, nn.Conv2d)
    with torch.no_grad():
        head.weight.mul_(0.1)
    return net


def clipped(net: nn.Module, step: int) -> bool:
    """Clip the gradients."""
    nn.utils.clip_grad_norm_(net.parameters(), 0.1)
    return True


SOUND_COURSES = [
    Training(name="a warm-up of 300 updates", schedule=warm_up(300)),
    Training(
        name="a prior of 1 % and a warm-up of 300", net=lambda: conv(bias=PRIOR), schedule=warm_up(300), loss="bce"
    ),
    Training(name="a prior of 1 %, focal", net=lambda: conv(bias=PRIOR), schedule=warm_up(100), loss="focal", batch=1),
    Training(
        name="a warm-up from logits of 0.3",
        about="which look like probabilities",
        schedule=warm_up(300),
        net=lambda: quiet(0.3),
    ),
    Training(name="restarts of the learning rate", schedule=restarts(200), rate=3e-2),
    Training(name="the step restarts each epoch", numbered=in_epoch(EPOCH)),
    Training(name="a validation, steps from 0", course=Validation, steps=800),
    Training(name="a validation with normalisation", course=Validation, steps=800, net=lambda: conv(norm=True)),
    Training(name="normalisation, batch 2", net=lambda: conv(norm=True), batch=2),
    Training(name="half precision in autocast", half=True),
    Training(name="half precision, classes", half=True, loss=DICE_CE, **CLASSES),
    Training(name="a small learning rate", about="SGD of 0.003", optimizer=sgd(), rate=3e-3, loss="bce", learns=0.0),
    Training(name="an oscillating loss", about="SGD of 1 with momentum", optimizer=sgd(), rate=1.0, loss="bce"),
    Training(name="a high learning rate", about="Adam of 0.05", rate=5e-2),
    Training(name="weight decay", optimizer=lambda given, rate: torch.optim.AdamW(given, lr=rate, weight_decay=0.1)),
    Training(name="RMSprop", optimizer=lambda given, rate: torch.optim.RMSprop(given, lr=rate)),
    Training(name="dropout of a half", net=lambda: conv(dropout=0.5, width=16)),
    Training(name="flips", spoil=flipped),
    Training(name="fine-tuning from a good start", warm=400, rate=1e-3),
    Training(name="fine-tuning of the head", course=FineTuning, warm=200),
    Training(
        name="a curriculum",
        about="fainter objects in five stages",
        spoil=fainter,
        data=shapes(contrast=2.0),
        learns=0.2,
    ),
    Training(name="clipped gradients", learn=clipped),
    Training(
        name="a sigmoid in the network",
        about="and a loss of probabilities",
        net=lambda: conv(last=nn.Sigmoid),
        loss="torch/bce",
        spoil=of_targets(torch.Tensor.float),
        monitor={"activation": "none"},
    ),
    Training(name="images of 0 to 255", about="values times 255", spoil=of_images(lambda x: x * 255)),
    Training(name="bright images", about="values of 0 to 4 around 2, not normalised", spoil=of_images(lambda x: x + 2)),
    Training(name="diffusion, batch 8", course=Diffusion, batch=8),
    Training(name="diffusion, batch 1", course=Diffusion, batch=1, rate=2e-3),
    Training(
        name="heavy tails",
        about="log-normal weights of the examples",
        batch=8,
        loss=loss_of("bce_dice_focal", reduction="none"),
        call=weighing(lambda number: torch.randn(number).exp()),
    ),
    Training(
        name="heavy tails, batch 1",
        about="weights of 0.01 to 1",
        batch=1,
        loss=loss_of("bce_dice_focal", reduction="none"),
        call=weighing(lambda number: 10 ** (-2 * torch.rand(number))),
    ),
]
