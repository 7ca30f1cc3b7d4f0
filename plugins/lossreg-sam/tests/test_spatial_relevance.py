"""Spatial relevance is the loss of the masks and the contrast of their regions."""

from __future__ import annotations

import pytest
import torch

from lossreg_sam import SAM
from lossreg_sam.spatial_relevance import SpatialRelevance
from lossreg_sam.text_region_contrast import TextRegionContrast

from .oracles import step
from .oracles_alignment import CAPTION, VALID, contrast, pairs, scene

each_caption = pytest.mark.parametrize("caption", [None, CAPTION], ids=["own captions", "same captions"])

WEIGHTS = {"focal_weight": 3.0, "dice_weight": 2.0, "iou_weight": 0.5}


@each_caption
@pytest.mark.parametrize("alignment_weight", [1.0, 0.3])
def test_spatial_relevance_is_the_loss_of_the_masks_and_the_contrast(alignment_weight, caption):
    """Each has its value alone; a region whose target is empty is left out of the contrast."""
    inputs = scene()
    loss = SpatialRelevance(**WEIGHTS, alignment_weight=alignment_weight, temperature=0.2)
    output = loss.evaluate(*inputs, *([] if caption is None else [caption]))
    masks = SAM(**WEIGHTS).evaluate(*inputs[:3])
    expected = torch.tensor(contrast(*inputs[3:], caption, VALID, 0.2), dtype=torch.float64)
    assert tuple(output.components) == ("focal", "dice", "iou", "alignment")
    assert output.components["alignment"].item() == pytest.approx(expected.mean().item(), rel=1e-10)
    for name, value in masks.components.items():
        assert output.components[name].item() == pytest.approx(value.item(), rel=1e-12)
    per_example = masks.per_example + alignment_weight * expected
    torch.testing.assert_close(output.per_example, per_example, rtol=1e-10, atol=0)
    torch.testing.assert_close(output.total.detach(), per_example.mean(), rtol=1e-10, atol=0)
    if caption is not None:
        assert torch.equal(loss(*inputs, caption=caption), output.total)


def test_the_defaults_are_twenty_to_one_to_one_to_one():
    output = SpatialRelevance().evaluate(*scene())
    weighted = sum(w * c for w, c in zip((20, 1, 1, 1), output.components.values(), strict=True))
    torch.testing.assert_close(output.total.detach(), weighted, rtol=1e-12, atol=0)


def test_gradients_of_spatial_relevance_equal_finite_differences():
    x, t, iou = step(3, masks=2, size=(2, 2))
    t[1], t[0, 0, 0] = 0, 1
    region, text = pairs(size=3)
    leaves = (x.requires_grad_(), iou.requires_grad_(), region, text)
    loss = SpatialRelevance(temperature=0.5)
    assert torch.autograd.gradcheck(lambda x, iou, region, text: loss(x, t, iou, region, text), leaves)


def test_a_target_that_is_ignored_whole_is_an_empty_region():
    x, t, iou, region, text = scene()
    t[2] = 255
    output = SpatialRelevance(ignore_index=255).evaluate(x, t, iou, region, text)
    assert output.per_example[2] == 0
    assert output.components["alignment"].item() == pytest.approx(sum(contrast(region, text, None, VALID)) / 5)
    output = SpatialRelevance(ignore_index=255).evaluate(x, torch.full_like(t, 255), iou, region, text)
    assert output.total == 0
    found = torch.autograd.grad(output.total, (x, iou, region, text))
    assert not any(gradient.any() for gradient in found)


CHANGES = {
    "focal_weight": 10.0,
    "dice_weight": 2.0,
    "iou_weight": 2.0,
    "alignment_weight": 2.0,
    "temperature": 0.5,
    "ignore_index": 1,
    "absent": "zero",
    "reduction": "sum",
}


@pytest.mark.parametrize("name", CHANGES)
def test_changing_a_parameter_changes_the_result(name):
    x, t, iou, region, text = scene()
    t[0] = 0
    t[0, 0, 0] = 1
    one, other = (SpatialRelevance(**params)(x, t, iou, region, text) for params in ({}, {name: CHANGES[name]}))
    assert abs(one - other) > 1e-4


def test_spatial_relevance_learns_its_temperature():
    loss = SpatialRelevance(learnable_temperature=True)
    loss(*scene()).backward()
    assert [name for name, p in loss.named_parameters() if p.grad] == ["alignment.logit_scale"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_extreme_predictions_have_finite_gradients(dtype):
    x, t, iou, region, text = scene(dtype=torch.float32)
    for factor in (1e4, -1e4, 0.0):
        leaves = [(each.detach().sign() * factor).to(dtype).requires_grad_() for each in (x, iou, region, text)]
        for target in (t, t * 0, t * 0 + 1):
            value = SpatialRelevance()(leaves[0], target, *leaves[1:])
            assert value.isfinite()
            assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, leaves))


@pytest.mark.tools
def test_both_compile_to_one_graph():
    torch.compiler.reset()
    x, t, iou, region, text = scene(dtype=torch.float32)
    for loss, inputs in (
        (TextRegionContrast(learnable_temperature=True), (region, text, CAPTION, VALID)),
        (SpatialRelevance(learnable_temperature=True, ignore_index=255), (x, t, iou, region, text, CAPTION)),
    ):
        leaves = [given for given in (*inputs, *loss.parameters()) if given.requires_grad]
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        value, expected = compiled(*inputs), loss(*inputs)
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
        found, wanted = (torch.autograd.grad(total, leaves) for total in (value, expected))
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    torch.compiler.reset()
