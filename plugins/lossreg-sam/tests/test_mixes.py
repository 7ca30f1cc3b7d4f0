"""sam in sums with losses of masks: all terms share one target, and predicted_iou goes to the terms that take it."""

from __future__ import annotations

import pytest
import torch

import lossreg
from lossreg_segmentation import MaskLoss, signed_distance

from .oracles import build, step

pytestmark = pytest.mark.usefixtures("on_tiles")

SHARED = {"task": "shared"}
TERMS = [
    "sam",
    {"name": "cldice", "params": SHARED},
    {"name": "boundary", "weight": 0.1, "params": SHARED},
]
MIX = {"name": "weighted_sum", "params": {"terms": TERMS}}


def by_hand(x, t, iou):
    """Return the values of the three terms, one example at a time, the target repeated for each mask."""
    each = t.unsqueeze(1).expand(-1, x.shape[1], -1, -1)
    values = []
    for n in range(len(x)):
        one = slice(n, n + 1)
        parts = [build(name, task="multilabel")(x[one], each[one]) for name in ("cldice", "boundary")]
        values.append(build("sam")(x[one], t[one], iou[one]) + parts[0] + 0.1 * parts[1])
    return torch.stack(values)


def test_a_mix_from_a_config():
    """By position and by name, with components, values per example and a gradient for every input."""
    pytest.importorskip("scipy")
    x, t, iou = step()
    x.requires_grad_(), iou.requires_grad_()
    loss, expected = lossreg.build(MIX), by_hand(x, t, iou)
    calls = [
        loss.evaluate(x, t, iou),
        loss.evaluate(x, t, predicted_iou=iou),
        loss.evaluate(predicted_iou=iou, target=t, input=x),
        loss.evaluate(x, t.unsqueeze(1), iou),
        lossreg.evaluate(loss, x, t, iou),
    ]
    for output in calls:
        torch.testing.assert_close(output.per_example, expected.detach())
        torch.testing.assert_close(output.total, expected.mean())
        assert list(output.components) == ["sam.focal", "sam.dice", "sam.iou", "cldice", "boundary"]
        found = torch.autograd.grad(output.total, (x, iou))
        wanted = torch.autograd.grad(expected.mean(), (x, iou), retain_graph=True)
        for gradient, by_terms in zip(found, wanted, strict=True):
            torch.testing.assert_close(gradient, by_terms)


def test_a_map_of_distances_goes_to_the_boundary():
    """Computed once for the shared target."""
    pytest.importorskip("scipy")
    x, t, iou = step()
    maps = signed_distance(t.unsqueeze(1)).expand_as(x)
    loss = lossreg.build(MIX)
    assert loss(x, t, iou, distance=maps) == loss(x, t, iou)
    assert loss(x, t, iou, distance=maps[:, :1]) == loss(x, t, iou)
    with pytest.raises(lossreg.ShapeError, match="so distance too"):
        build("boundary", task="multilabel")(x, t.unsqueeze(1).expand_as(x), distance=maps[:, :1])


def test_a_missing_input_is_named():
    """In the words of the config."""
    x, t, iou = step()
    loss = lossreg.build(MIX)
    for call in (loss, loss.evaluate):
        with pytest.raises(
            lossreg.InputError, match=r"sam inside weighted_sum needs predicted_iou; call it as loss\(inp"
        ):
            call(x, t)
        with pytest.raises(lossreg.InputError, match=r"option predicted=; .* distance, predicted_iou, weight"):
            call(x, t, predicted=iou)


@pytest.mark.parametrize("name", ["bce", "dice", "focal", "topk", "lovasz_hinge", "cldice", "mcc", "squared_dice"])
def test_predictions_that_share_a_target(name):
    """Each is compared with the one mask, hard or soft, with ignored pixels and without."""
    x, t, _ = step()
    loss, repeated = build(name, task="shared", ignore_index=255), build(name, task="multilabel", ignore_index=255)
    ignored = t.long()
    ignored[:, 0] = 255
    for target in (t, ignored) if name == "lovasz_hinge" else (t, ignored, torch.rand_like(x[:, 0])):
        each = target.unsqueeze(1)
        expected = repeated(x, each.expand_as(x).clone())
        torch.testing.assert_close(loss(x, target), expected)
        torch.testing.assert_close(loss(x, each), expected)


def test_a_shared_target_has_one_mask():
    """The advice for a mask of each prediction works."""
    x, t, _ = step()
    each = t.unsqueeze(1).expand_as(x)
    with pytest.raises(
        lossreg.ShapeError, match=r"task='shared' takes one mask for all C .* channel set task='multilabel'"
    ):
        build("dice", task="shared")(x, each)
    assert build("dice", task="multilabel")(x, each).isfinite()
    with pytest.raises(lossreg.InvalidConfigError, match="LovaszSoftmax is for multiclass, got task='shared'"):
        build("lovasz_softmax", task="shared")


def test_one_pass_serves_sam_and_masks_of_its_target():
    """Dice of the shared target is a formula of sums that sam has; the plan is one, too."""
    x, t, iou = step()
    loss = build("weighted_sum", terms=["sam", {"name": "dice", "params": SHARED}])
    passes = loss.passes(x, t, iou)
    assert len(passes) == 2
    assert passes[0].merged(passes[1]) is not None
    expected = build("sam")(x, t, iou) + build("dice", **SHARED)(x, t)
    torch.testing.assert_close(loss(x, t, iou), expected)
    assert isinstance(build("dice"), MaskLoss)
