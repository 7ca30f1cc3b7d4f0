"""The losses of Mask2Former, EoMT and MaskFormer in transformers, and `matched` on the same points."""

import pytest
import torch
import yaml

import lossreg

from ..peers.rows import rows
from .data import define_torchvision_operators, trainer

define_torchvision_operators()
transformers = trainer("transformers")

from transformers.models.eomt.modeling_eomt import EomtLoss  # noqa: E402
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss  # noqa: E402
from transformers.models.maskformer.modeling_maskformer import (  # noqa: E402
    MaskFormerHungarianMatcher,
    MaskFormerLoss,
)

CLASSES, POINTS = 4, 200
MASK2FORMER = {"loss_cross_entropy": ("class", 2.0, "cross_entropy"), "loss_mask": ("mask", 5.0, "bce")}
MASKFORMER = {"loss_cross_entropy": ("class", 1.0, "cross_entropy"), "loss_mask": ("mask", 20.0, "focal")}
DICE = {"loss_dice": ("mask", 1.0, "dice")}


def ours(terms, points):
    params = {"dice": {"overlap": "product"}, "focal": {"alpha": 0.25, "gamma": 2.0}}
    listed = [
        {"of": of, "weight": weight, "name": name, "params": params.get(name, {})}
        for of, weight, name in terms.values()
    ]
    return lossreg.build({"name": "matched", "params": {"classes": CLASSES, "points": points, "terms": listed}})


def of_the_page(name, **params):
    """Return the config in the row of docs/coming_from/transformers.md, with other parameters in the place of some."""
    (row,) = [row for row in rows() if row.theirs == name]
    config = yaml.safe_load(row.ours)
    return {"name": config["name"], "params": config["params"] | params}


def mask2former():
    config = transformers.Mask2FormerConfig(
        num_labels=CLASSES,
        train_num_points=POINTS,
        class_weight=2.0,
        mask_weight=5.0,
        dice_weight=5.0,
        no_object_weight=0.1,
    )
    return Mask2FormerLoss(config, {})


def eomt():
    config = transformers.EomtConfig(
        num_labels=CLASSES,
        train_num_points=POINTS,
        class_weight=2.0,
        mask_weight=5.0,
        dice_weight=5.0,
        no_object_weight=0.1,
    )
    return EomtLoss(config, {})


def maskformer():
    matcher = MaskFormerHungarianMatcher(cost_class=1.0, cost_mask=20.0, cost_dice=1.0)
    return MaskFormerLoss(CLASSES, matcher, {}, eos_coef=0.1)


def batch(counts, seed):
    generator = torch.Generator().manual_seed(seed)
    masks = 3 * torch.randn(len(counts), 8, 12, 16, generator=generator)
    classes = torch.randn(len(counts), 8, CLASSES + 1, generator=generator)
    target = [
        {
            "masks": (torch.rand(m, 24, 32, generator=generator) > 0.6).float(),
            "labels": torch.randint(CLASSES, (m,), generator=generator),
        }
        for m in counts
    ]
    return masks.requires_grad_(), classes.requires_grad_(), target


@pytest.mark.parametrize(
    ("name", "theirs", "weights", "params"),
    [
        ("Mask2FormerLoss", mask2former, (2.0, 5.0, 5.0), {"points": POINTS}),
        ("EomtLoss", eomt, (2.0, 5.0, 5.0), {"points": POINTS}),
        ("MaskFormerLoss", maskformer, (1.0, 20.0, 1.0), {}),
    ],
)
def test_the_configs_of_the_page(name, theirs, weights, params):
    """In value and gradient, with the weights of the papers."""
    masks, classes, target = batch((3, 5), 0)
    loss = lossreg.build(of_the_page(name, classes=CLASSES, **params))
    torch.manual_seed(0)
    values = theirs()(masks, classes, [t["masks"] for t in target], [t["labels"] for t in target])
    keys = ("loss_cross_entropy", "loss_mask", "loss_dice")
    expected = sum(weight * values[key] for weight, key in zip(weights, keys, strict=True))
    torch.manual_seed(0)
    found = loss({"masks": masks, "classes": classes}, target)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    for one, other in zip(*(torch.autograd.grad(v, [masks, classes]) for v in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * other.abs().max().item())


def compare(theirs, terms, points, counts, seed):
    """Compare values to 1e-6, and gradients to 1e-6 of the largest; the same seed draws the same points."""
    masks, classes, target = batch(counts, seed)
    loss = ours(terms, points)
    torch.manual_seed(seed)
    found = theirs(masks, classes, [t["masks"] for t in target], [t["labels"] for t in target])
    torch.manual_seed(seed)
    output = loss.evaluate({"masks": masks, "classes": classes}, target)
    for key, (_, _, name) in terms.items():
        torch.testing.assert_close(output.components[name], found[key].detach(), rtol=1e-6, atol=1e-7)
    expected = sum(weight * found[key] for key, (_, weight, _) in terms.items())
    found, wanted = (torch.autograd.grad(value, [masks, classes]) for value in (output.total, expected))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * max(other.abs().max().item(), 1e-3))


COUNTS = pytest.mark.parametrize("counts", [(3, 5), (1, 0), (20, 7), (0, 0)], ids=str)


@COUNTS
def test_mask2former_at_the_same_points(counts):
    """With images without objects, and with more objects than queries."""
    terms = MASK2FORMER | {"loss_dice": ("mask", 5.0, "dice")}
    for seed in range(3):
        compare(mask2former(), terms, POINTS, counts, seed)


@pytest.mark.parametrize("counts", [(3, 5), (1, 2), (20, 7)], ids=str)
def test_maskformer_on_all_pixels(counts):
    """Focal 20, Dice 1, and predictions enlarged to the size of the targets."""
    for seed in range(3):
        compare(maskformer(), MASKFORMER | DICE, 0, counts, seed)


def test_a_query_of_nan_is_matched_as_there():
    """Last, so that the value is finite while there are other queries."""
    masks, classes, target = batch((2, 2), 0)
    masks.data[:, 1] = torch.nan
    terms = MASK2FORMER | {"loss_dice": ("mask", 5.0, "dice")}
    torch.manual_seed(0)
    found = mask2former()(masks, classes, [t["masks"] for t in target], [t["labels"] for t in target])
    torch.manual_seed(0)
    total = ours(terms, POINTS)({"masks": masks, "classes": classes}, target)
    assert total.item() == pytest.approx(sum(w * found[key].item() for key, (_, w, _) in terms.items()), rel=1e-6)
