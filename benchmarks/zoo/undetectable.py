"""Broken trainings that look like sound ones, each with the reason why no rule can tell."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from zoo.changes import of_pool, of_targets, renamed, some_inverted
from zoo.configs import CLASSES, plain
from zoo.data import Pool, changed, digit_names, several_masks, shapes
from zoo.faults import clipped_away, exchanged, missing, never, of_hard_masks, of_others
from zoo.nets import classifier, conv
from zoo.other_courses import Aimless
from zoo.training import SILENT_STEPS, Training, sgd

NO_STEP = "a network that stays as it is looks like one in a long warm-up; Plateau, which is no default, reports it"
LABELS = "the numbers are those of a hard task: the network learns what can be learnt, and the loss falls"
CONSISTENT = "a rule that always holds is learnt as any other; only a look at pictures shows that it is the wrong one"


def of_dark_objects(seed: int) -> Pool:
    """Return images whose mask is that of the dark objects, in place of the bright ones."""
    pool = several_masks(seed)
    return Pool(pool.images, pool.targets[:, 1:2])


def undetectable(name: str, reason: str, **options: Any) -> Training:
    """Return a broken training that no rule can tell."""
    return Training(**{"name": name, "undetectable": reason, "steps": SILENT_STEPS, **options})


UNDETECTABLE = [
    undetectable("a learning rate of 0", NO_STEP, rate=0.0),
    undetectable("the optimizer never steps", NO_STEP, learn=never),
    undetectable("gradients clipped to 1e-9", NO_STEP, learn=clipped_away, optimizer=sgd()),
    undetectable("a loss of hard masks, without gradient", NO_STEP, loss=plain(of_hard_masks)),
    undetectable(
        "a ReLU on the logits",
        "no probability falls below one half, but masks are right at that threshold; the loss still falls a little",
        net=partial(conv, last=nn.ReLU),
        loss="bce",
    ),
    undetectable("all masks inverted", CONSISTENT, data=changed(shapes(), of_pool(some_inverted(1.0)))),
    undetectable("masks of the wrong channel", CONSISTENT, data=of_dark_objects, loss="bce"),
    undetectable("masks two pixels aside", CONSISTENT, spoil=of_targets(lambda targets: targets.roll(2, -1))),
    undetectable("half of the masks inverted", LABELS, data=changed(shapes(), of_pool(some_inverted(0.5)))),
    undetectable(
        "two classes exchanged in half of the examples",
        LABELS,
        **{**CLASSES, "data": changed(CLASSES["data"], of_pool(exchanged(1, 2)))},
        loss="cross_entropy",
    ),
    undetectable("large masks of other images", LABELS, data=of_others(shapes(radius=(8, 14))), loss="bce"),
    undetectable(
        "digits named at random",
        LABELS,
        data=changed(digit_names, of_pool(renamed(1.0))),
        net=classifier,
        loss="cross_entropy",
        batch=16,
    ),
    undetectable(
        "a third of the masks missing",
        LABELS,
        data=missing(0.33)(shapes()),
    ),
    undetectable(
        "objects of one pixel are lost",
        "a sound training of objects this tiny has the same phase, so Collapse asks for a mean target of 1 %",
        data=shapes(radius=(0.5, 0.7), contrast=0.2, side=32),
        loss="bce",
    ),
    undetectable(
        "diffusion towards other noise",
        "a loss that does not fall is what a converged training has as well; Plateau, which is no default, reports it",
        course=Aimless,
        batch=8,
    ),
]
