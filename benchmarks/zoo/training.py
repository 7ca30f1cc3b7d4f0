"""A training of the zoo: its settings, the rules that should report it, and its updates one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import lossreg
from zoo.data import Data, shapes
from zoo.nets import conv

EPOCH = 40  # updates between two validations, and of an in-epoch step
PASS = 20  # batches of a validation
SOUND_STEPS, BROKEN_STEPS, SILENT_STEPS = 800, 5000, 800  # the last of the undetectable ones


class Update(NamedTuple):
    """What a user gives to `LossMonitor.update`."""

    output: Any
    prediction: Tensor | None = None
    target: Tensor | None = None
    step: int | None = None


def as_it_is(images: Tensor, targets: Tensor, _: int) -> tuple[Tensor, Tensor]:
    """Return a batch unchanged."""
    return images, targets


def evaluated(loss: Any, outputs: Any, targets: Tensor) -> tuple[Any, Tensor]:
    """Return the loss of the network's outputs, and the prediction for the monitor: the first of several outputs."""
    found = lossreg.evaluate(loss, outputs, targets) if isinstance(loss, nn.Module) else loss(outputs, targets)
    return found, outputs if isinstance(outputs, Tensor) else outputs[0]


def adam(parameters: Any, rate: float) -> torch.optim.Optimizer:
    """Return Adam."""
    return torch.optim.Adam(parameters, lr=rate)


def sgd(momentum: float = 0.9, **options: Any) -> Callable[[Any, float], torch.optim.Optimizer]:
    """Return a maker of SGD."""
    return lambda parameters, rate: torch.optim.SGD(parameters, lr=rate, momentum=momentum, **options)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training.

    Args:
        name: its key.
        about: more words than the name.
        expected: names; one of them must report the fault. Rules, "refused" for an error of the loss or the monitor,
            "doubt" for the monitor's warning about the activation. Empty for a sound training.
        undetectable: the reason why it looks like a sound training to every rule.
        known: the reason of a false alarm or a miss that remains.
        steps: updates of the whole training.
        begins: updates before the fault.
        learns: least IoU (accuracy of a classification) at the end of a sound training.
        data, net, loss: makers; a loss may be a config.
        batch: examples, or a function of the step.
        rate, optimizer, schedule: the learning rate, its optimizer, and its factor as a function of the step.
        warm: updates before the monitor begins.
        accumulate: updates for each step of the optimizer.
        half: bfloat16 in autocast.
        spoil: a change of each batch (images, targets, step), seen by the loss and by the monitor.
        call: the loss and the prediction of (loss, outputs, targets).
        numbered: the monitor's step as a function of the update's number, from 0.
        monitor: options of LossMonitor.
        watches_loss: give the monitor loss=.
        learn: a change of the gradients after backward (net, step); may leave the optimizer's step out by False.
        course: the function that runs it.
    """

    name: str
    about: str = ""
    expected: tuple[str, ...] = ()
    undetectable: str = ""
    known: str = ""
    steps: int = SOUND_STEPS
    begins: int = 0
    learns: float = 0.5
    data: Data = field(default_factory=shapes)
    net: Callable[[], nn.Module] = conv
    loss: Any = "bce_dice_focal"
    batch: int | Callable[[int], int] = 4
    rate: float = 1e-2
    optimizer: Callable[[Any, float], torch.optim.Optimizer] = adam
    schedule: Callable[[int], float] = lambda step: 1.0
    warm: int = 0
    accumulate: int = 1
    half: bool = False
    spoil: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] = as_it_is
    call: Callable[[Any, Any, Tensor], tuple[Any, Tensor]] = evaluated
    numbered: Callable[[int], int | None] = lambda number: number + 1
    monitor: Mapping[str, Any] = field(default_factory=dict)
    watches_loss: bool = False
    learn: Callable[[nn.Module, int], bool] = lambda net, step: True
    course: Callable[[Training, int], Course] = lambda training, seed: Course(training, seed)

    @property
    def is_sound(self) -> bool:
        """Return True if nothing is wrong with it."""
        return not self.expected and not self.undetectable


class Course:
    """The course of a training with one seed."""

    def __init__(self, training: Training, seed: int) -> None:
        torch.manual_seed(seed)
        self.training = training
        self.generator = torch.Generator().manual_seed(seed)
        self.pool = training.data(seed)
        self.net = training.net()
        given = training.loss
        self.loss = lossreg.build(given) if isinstance(given, (str, Mapping)) else given()
        self.optimizer = training.optimizer(self.net.parameters(), training.rate)

    def updates(self) -> Iterator[Update]:
        """Yield the updates as the monitor gets them; the network learns from each after it."""
        for step in range(self.training.warm):
            self.learn(self.forward(step), step)
        for number, step in zip(range(self.training.steps), count(self.training.warm), strict=False):
            update = self.forward(step)
            yield update._replace(step=self.training.numbered(number))
            self.learn(update, step)

    def forward(self, step: int) -> Update:
        """Return the update of the next batch."""
        training = self.training
        number = training.batch if isinstance(training.batch, int) else training.batch(step)
        images, targets = training.spoil(*self.pool.draw(number, self.generator), step)
        with torch.autocast("cpu", torch.bfloat16, enabled=training.half):
            output, prediction = training.call(self.loss, self.net(images), targets)
        return Update(output, prediction, targets)

    def learn(self, update: Update, step: int) -> None:
        """Take a step of the optimizer."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.rate * self.training.schedule(step)
        total = update.output if isinstance(update.output, Tensor) else update.output.total
        (total.mean() / self.training.accumulate).backward()
        if self.training.learn(self.net, step) and (step + 1) % self.training.accumulate == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()


class Validation(Course):
    """A monitor of validations: each epoch a pass in eval mode, whose steps are the batches of the pass."""

    def updates(self) -> Iterator[Update]:
        """Train an epoch and yield a pass, until the monitor has had all updates."""
        for epoch in range(self.training.steps // PASS):
            self.net.train()
            for step in range(epoch * EPOCH, (epoch + 1) * EPOCH):
                self.learn(self.forward(step), step)
            self.net.eval()
            with torch.no_grad():
                for index in range(PASS):
                    yield self.forward(epoch * EPOCH)._replace(step=index)
