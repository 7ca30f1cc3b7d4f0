"""Broken trainings whose data are at fault."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.changes import in_epoch, of_images, of_pool, of_targets, unlabelled
from zoo.configs import CLASSES, DICE_CE, IGNORES, ignoring, plain, torch_bce
from zoo.data import changed, shapes
from zoo.faults import NAN, alike, filled, ignored, missing, of_others, shifted, spoilt_at
from zoo.nets import conv
from zoo.training import BROKEN_STEPS, Training, Validation

SMALL = shapes(radius=(1.5, 4.0))


def without(value: int, **params: object) -> dict[str, object]:
    """Return the config of a cross-entropy that ignores a value by mistake."""
    name = "cross_entropy" if params else "bce"
    return {"name": name, "params": {"ignore_index": value, **params}}


def same(targets: Tensor) -> Tensor:
    """Return one and the same mask, a square."""
    square = torch.zeros_like(targets)
    square[..., 5:12, 5:12] = 1
    return square


def broken(name: str, *expected: str, **options: Any) -> Training:
    """Return a broken training that one of these names must report."""
    return Training(**{"name": name, "expected": expected, "steps": BROKEN_STEPS, **options})


EMPTY: Any = {"about": "the masks were not found and read as zeros", "spoil": of_targets(filled(0))}
AT_RANDOM = (
    "Dice then predicts most pixels as foreground, others not, so that less than 95 % of the background are lost."
)
EMPTY_MASKS = [
    broken("all masks empty", "EmptyTargets", **EMPTY),
    broken("all masks empty, bce", "EmptyTargets", loss="bce", **EMPTY),
    broken("all masks empty, batch 1", "EmptyTargets", batch=1, **EMPTY),
    broken("all masks empty, batch 2", "EmptyTargets", batch=2, **EMPTY),
    broken("all masks empty, batch 16", "EmptyTargets", batch=16, **EMPTY),
    broken("all masks empty, batch 4, every=10", "EmptyTargets", monitor={"every": 10}, **EMPTY),
    broken("all masks empty, batch 1, every=25", "EmptyTargets", batch=1, monitor={"every": 25}, **EMPTY),
    broken("all masks empty, the step restarts", "EmptyTargets", numbered=in_epoch(45), **EMPTY),
    broken("all masks empty in a validation", "EmptyTargets", course=Validation, batch=1, **EMPTY),
    broken("all masks empty, accumulated batches of 1", "EmptyTargets", batch=1, accumulate=8, **EMPTY),
    broken("only the background", "EmptyTargets", loss="cross_entropy", spoil=of_targets(filled(0)), **CLASSES),
    broken("97 of 100 masks missing", "EmptyTargets", "Collapse", data=missing(0.97)(SMALL)),
    broken("99 of 100 masks missing, batch 1", "EmptyTargets", "Collapse", data=missing(0.99)(SMALL), batch=1),
    broken("98 of 100 masks missing, bce", "EmptyTargets", "Collapse", data=missing(0.98)(SMALL), loss="bce", batch=8),
    broken(
        "two of three masks missing",
        "Collapse",
        data=missing(0.67)(SMALL),
        loss="bce",
        known="A low prediction must last for 200 updates without a gain of contrast.",
    ),
]
ALL_IGNORED = [
    broken(
        "all pixels ignored", "IgnoredTargets", spoil=of_targets(ignored), loss=ignoring("bce_dice_focal"), **IGNORES
    ),
    broken(
        "all pixels ignored, batch 1",
        "IgnoredTargets",
        spoil=of_targets(ignored),
        loss=ignoring("bce"),
        batch=1,
        **IGNORES,
    ),
    broken(
        "all pixels ignored, classes",
        "IgnoredTargets",
        spoil=of_targets(ignored),
        loss=ignoring("cross_entropy"),
        **CLASSES,
    ),
    broken(
        "99 of 100 targets ignored",
        "IgnoredTargets",
        data=changed(SMALL, of_pool(unlabelled(0.99))),
        loss=ignoring("bce", absent="ignore"),
        **IGNORES,
    ),
    broken("the background ignored", "Collapse", about="ignore_index=0", loss=without(0, task="multiclass"), **CLASSES),
    broken("a class ignored", "Collapse", about="ignore_index=1", loss=without(1, task="multiclass"), **CLASSES),
    broken("the background of a mask ignored", "ZeroLoss", "Collapse", about="ignore_index=0", loss=without(0)),
    broken("the foreground of a mask ignored", "Collapse", about="ignore_index=1", loss=without(1)),
]
VALUES = [
    broken(
        "masks of 0 and 255, torch's bce",
        "TargetRange",
        "Saturation",
        loss=plain(torch_bce),
        spoil=of_targets(lambda targets: targets * 255),
    ),
    broken(
        "masks of 0 and 255, torch's bce, batch 1",
        "TargetRange",
        "Saturation",
        loss=plain(torch_bce),
        batch=1,
        spoil=of_targets(lambda targets: targets * 255),
    ),
    broken("masks of 0 and 255", "refused", spoil=of_targets(lambda targets: targets * 255)),
    broken("masks of -1 and 1", "refused", spoil=of_targets(lambda targets: targets * 2.0 - 1)),
    broken(
        "masks of -1 and 1, torch's bce",
        "TargetRange",
        "Saturation",
        loss=plain(torch_bce),
        spoil=of_targets(lambda targets: targets * 2.0 - 1),
    ),
    broken(
        "classes counted from 1", "refused", "TargetRange", loss=DICE_CE, spoil=of_targets(lambda t: t + 1), **CLASSES
    ),
    broken("NaN in the masks", "refused", "NonFinite", spoil=of_targets(lambda t: t.where(t > 0, NAN).float())),
    broken("NaN in an image of 60", "NonFinite", spoil=spoilt_at(NAN, 15)),
    broken("infinity in an image", "NonFinite", spoil=spoilt_at(float("inf"), 15), batch=1),
    broken("all masks full", "FullTargets", about="read from the alpha channel", spoil=of_targets(filled(1))),
    broken(
        "the same mask always",
        "ConstantTargets",
        "Collapse",
        spoil=of_targets(same),
    ),
]
IMAGES = [
    broken("black images", "ConstantPrediction", spoil=of_images(torch.zeros_like)),
    broken("black images, batch 1", "ConstantPrediction", "Collapse", spoil=of_images(torch.zeros_like), batch=1),
    broken("the same image always", "ConstantPrediction", data=alike(shapes())),
]
PAIRS = [
    broken("masks of other images", "Collapse", data=of_others(SMALL), loss="bce"),
    broken("masks of other images, batch 1", "Collapse", data=of_others(SMALL), loss="bce", batch=1),
    broken("masks of other images, dice", "Collapse", data=of_others(SMALL), loss="dice", known=AT_RANDOM),
    broken("masks shifted by half of the image", "Collapse", data=SMALL, loss="bce", spoil=of_targets(shifted)),
    broken(
        "images flipped without their masks", "Collapse", data=SMALL, loss="bce", spoil=of_images(lambda x: x.flip(-1))
    ),
    broken("transposed masks", "Collapse", data=SMALL, loss="bce", spoil=of_targets(lambda t: t.transpose(-1, -2))),
    broken(
        "classes of other images",
        "Collapse",
        data=of_others(CLASSES["data"]),
        net=lambda: conv(4),
        loss="cross_entropy",
    ),
]
BROKEN_DATA = EMPTY_MASKS + ALL_IGNORED + VALUES + IMAGES + PAIRS
