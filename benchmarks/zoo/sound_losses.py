"""Sound trainings with many losses and batch sizes."""

from __future__ import annotations

from zoo.changes import of_pool, renamed, sparse
from zoo.configs import CLASSES, DICE_CE, ignoring, loss_of, plain, prompted, terms, torch_bce
from zoo.data import changed, digit_names, several_masks, shapes
from zoo.nets import Promptable, TwoScales, classifier, conv
from zoo.training import Training

LOSSES = [
    Training(name=f"loss {name}", about="an image with a ball in each example", loss=name)
    for name in ("bce", "dice", "focal", "bce_dice_focal", "tversky", "iou", "focal_tversky", "lovasz_hinge", "mcc")
]
LOSSES += [
    Training(name="loss log_cosh_dice, with loss=", loss="log_cosh_dice", watches_loss=True),
    Training(name="loss bce_dice_focal, with loss=", loss="bce_dice_focal", watches_loss=True),
    Training(name="loss of MONAI", loss={"name": "monai/dice", "params": {"sigmoid": True}}),
    Training(name="loss bce, positives weigh ten", loss={"name": "bce", "params": {"pos_weight": 10.0}}),
    Training(name="loss of the hardest tenth", loss={"name": "topk", "params": {"task": "binary"}}),
    Training(name="loss sam", about="three masks and their IoU", net=Promptable, loss="sam", call=prompted),
    Training(
        name="loss deep_supervision",
        net=TwoScales,
        loss={"name": "deep_supervision", "params": {"loss": "bce_dice_focal"}},
        watches_loss=False,
    ),
    Training(
        name="loss of smoothed labels", loss={"name": "bce", "params": {"label_smoothing": 0.1, "task": "binary"}}
    ),
]
BATCHES = [
    Training(name="batch 1", batch=1),
    Training(name="batch 1, bce", batch=1, loss="bce"),
    Training(name="batch 2", batch=2),
    Training(name="batch 16", batch=16, steps=1000),
    Training(name="uneven batches", batch=lambda step: (4, 3, 2, 1)[step % 4]),
    Training(name="empty batches", batch=lambda step: (4, 0)[step % 2], loss=plain(torch_bce)),
    Training(name="accumulated gradients", about="eight batches of 1 for each step", batch=1, accumulate=8),
    Training(name="a window of 10 updates", batch=1, monitor={"every": 10}),
    Training(name="a window of each update", batch=4, monitor={"every": 1}, steps=800),
]
SEVERAL = [
    Training(name="classes, cross_entropy", loss="cross_entropy", **CLASSES),
    Training(name="classes, Dice and cross_entropy", loss=DICE_CE, watches_loss=True, **CLASSES),
    Training(
        name="classes, lovasz_softmax",
        about="with cross_entropy, without which it seldom begins to learn",
        loss=terms("lovasz_softmax", "cross_entropy"),
        **CLASSES,
    ),
    Training(name="classes, batch 1", loss=DICE_CE, batch=1, **CLASSES),
    Training(
        name="classes, ignored pixels",
        loss=ignoring("cross_entropy"),
        data=changed(CLASSES["data"], of_pool(sparse(0.3))),
        net=CLASSES["net"],
    ),
    Training(
        name="many classes, each rare",
        loss="cross_entropy",
        data=shapes(classes=12, contrast=1.0, noise=0.2),
        net=lambda: conv(12, width=16),
        learns=0.2,
    ),
    Training(
        name="classes, Dice without the background",
        loss=terms(loss_of("dice", background=False), "cross_entropy"),
        **CLASSES,
    ),
    Training(
        name="masks",
        loss={"name": "bce_dice_focal", "params": {"task": "multilabel"}},
        data=several_masks,
        net=lambda: conv(3, width=12),
    ),
    Training(
        name="masks, one of them seldom",
        loss={"name": "bce", "params": {"task": "multilabel"}},
        data=lambda seed: several_masks(seed, seldom=0.1),
        net=lambda: conv(3, width=12),
    ),
    Training(name="digits by name", data=digit_names, net=classifier, loss="cross_entropy", batch=16),
    Training(
        name="digits by name, batch 1", data=digit_names, net=classifier, loss="cross_entropy", batch=1, rate=2e-3
    ),
    Training(
        name="digits, a fifth misnamed",
        data=changed(digit_names, of_pool(renamed(0.2))),
        net=classifier,
        loss="cross_entropy",
        batch=16,
    ),
]
SOUND_LOSSES = LOSSES + BATCHES + SEVERAL
