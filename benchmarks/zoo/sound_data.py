"""Sound trainings with many kinds of targets."""

from __future__ import annotations

import torch

from zoo.changes import blurred, mixed, noisy, of_pool, of_targets, some_inverted, sparse, unlabelled, with_border
from zoo.configs import IGNORES, ignoring
from zoo.data import changed, digits, shapes, tiles
from zoo.nets import PRIOR, conv
from zoo.training import Training

SOUND_DATA = [
    Training(name="tiny objects", about="1 to 9 pixels of 400", data=shapes(radius=(0.6, 1.6), contrast=3.0)),
    Training(name="tiny objects, batch 1", data=shapes(radius=(0.6, 1.6), contrast=3.0), batch=1, loss="dice"),
    Training(
        name="tiny objects, bce and a prior of 1 %",
        data=shapes(radius=(0.6, 1.6), contrast=3.0),
        loss="bce",
        net=lambda: conv(bias=PRIOR),
    ),
    Training(name="large objects", about="up to all of the image", data=shapes(radius=(8, 18))),
    Training(name="half of the masks empty", data=shapes(empty=0.5)),
    Training(name="nine of ten masks empty", data=shapes(empty=0.9)),
    Training(name="nine of ten masks empty, batch 1", data=shapes(empty=0.9), batch=1),
    Training(name="nine of ten masks empty, bce", data=shapes(empty=0.9), loss="bce"),
    Training(
        name="nine of ten masks empty and ignored by Dice",
        data=shapes(empty=0.9),
        loss={"name": "bce_dice_focal", "params": {"absent": "ignore"}},
    ),
    Training(
        name="nine of ten masks empty and ignored by Dice, batch 1",
        data=shapes(empty=0.9),
        loss={"name": "dice", "params": {"absent": "ignore"}},
        batch=1,
    ),
    Training(name="ignored borders", loss=ignoring("bce_dice_focal"), spoil=of_targets(with_border), **IGNORES),
    Training(
        name="one pixel in twenty labelled",
        data=changed(shapes(), of_pool(sparse(0.05))),
        loss=ignoring("bce"),
        **IGNORES,
    ),
    Training(
        name="half of the targets ignored",
        data=changed(shapes(), of_pool(unlabelled(0.5))),
        loss=ignoring("bce_dice_focal", absent="ignore"),
        **IGNORES,
    ),
    Training(
        name="eight of ten targets ignored, batch 1",
        data=changed(shapes(), of_pool(unlabelled(0.8))),
        loss=ignoring("bce"),
        batch=1,
        **IGNORES,
    ),
    Training(name="soft masks", spoil=of_targets(blurred)),
    Training(
        name="mixed examples",
        about="halves of two masks, few pixels of which are above one half",
        spoil=mixed,
        loss="bce",
        learns=0.1,
    ),
    Training(name="bool masks", spoil=of_targets(torch.Tensor.bool)),
    Training(name="a tenth of the pixels mislabelled", data=changed(shapes(), of_pool(noisy(0.1))), learns=0.3),
    Training(name="a twentieth of the masks inverted", data=changed(shapes(), of_pool(some_inverted(0.05)))),
    Training(name="without noise", about="learnt to the last pixel", data=shapes(noise=0.0)),
    Training(name="without noise, dice", data=shapes(noise=0.0), loss="dice"),
    Training(name="without noise, lovasz_hinge", data=shapes(noise=0.0), loss="lovasz_hinge"),
    Training(name="faint objects", data=shapes(contrast=0.6), loss="bce", learns=0.2),
    Training(name="signals", data=shapes(axes=1, side=64), net=lambda: conv(axes=1)),
    Training(name="volumes", data=shapes(axes=3, side=10), net=lambda: conv(axes=3), steps=1000),
    Training(name="digits' ink", data=digits),
    Training(name="photographs, bce", data=tiles, loss="bce", learns=0.3),
    Training(name="photographs, bce_dice_focal, batch 1", data=tiles, batch=1, learns=0.3),
]
