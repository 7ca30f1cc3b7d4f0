"""Text-region contrast: values, gradients, excluded pairs, the temperature."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from lossreg_sam.text_region_contrast import TextRegionContrast

from .oracles_alignment import CAPTION, VALID, contrast, pairs

each_caption = pytest.mark.parametrize("caption", [None, CAPTION], ids=["own captions", "same captions"])
each_valid = pytest.mark.parametrize("valid", [None, VALID], ids=["all valid", "one empty"])


@each_valid
@each_caption
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_contrast_equals_its_formula(temperature, caption, valid):
    region, text = pairs()
    output = TextRegionContrast(temperature=temperature).evaluate(region, text, caption, valid)
    expected = contrast(region, text, caption, valid, temperature)
    assert output.per_example.tolist() == pytest.approx(expected, rel=1e-10)
    assert output.total.item() == pytest.approx(sum(expected) / 5, rel=1e-10)
    assert output.components["text_region_contrast"] == output.total
    values = TextRegionContrast(temperature=temperature, reduction="none")(region, text, caption, valid)
    assert values.tolist() == pytest.approx(expected, rel=1e-10)


def test_with_different_captions_it_is_the_loss_of_clip():
    region, text = pairs()
    logits = functional.normalize(region) @ functional.normalize(text).T / 0.07
    own = torch.arange(5)
    expected = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(TextRegionContrast()(region, text), expected, rtol=1e-12, atol=0)


def test_literal_values_of_two_pairs():
    """Orthogonal pairs at temperature 1: log(e + 1) - 1 each. Of one caption both are positive: 1/2 less."""
    region = torch.eye(2)
    assert TextRegionContrast(temperature=1.0)(region, region).item() == pytest.approx(math.log(math.e + 1) - 1)
    same = TextRegionContrast(temperature=1.0)(region * 3, region, torch.tensor([4, 4])).item()
    assert same == pytest.approx(math.log(math.e + 1) - 0.5)
    assert TextRegionContrast()(region[:1], region[1:]) == 0  # no other pair to compare with


@each_valid
@each_caption
def test_gradients_equal_finite_differences(caption, valid):
    loss = TextRegionContrast(temperature=0.5, learnable_temperature=True).double()
    region, text = pairs()
    scale = loss.logit_scale.detach().clone().requires_grad_()

    def value(region, text, scale):
        return torch.func.functional_call(loss, {"logit_scale": scale}, (region, text, caption, valid))

    assert torch.autograd.gradcheck(value, (region, text, scale))


def test_pairs_of_one_caption_do_not_repel_each_other():
    """They are positives of each other, whose share is equal."""
    region, text = pairs(size=2)
    with torch.no_grad():
        text[1] = text[0]
    both = TextRegionContrast()
    assert both(region, text, torch.tensor([1, 1])).item() == pytest.approx(
        sum(contrast(region, text, torch.tensor([1, 1]))) / 2, rel=1e-10
    )
    same = both.evaluate(region[[0, 0]], text[[0, 0]], torch.tensor([1, 1]))
    assert same.total.item() == pytest.approx(math.log(2), rel=1e-10)
    gradients = torch.autograd.grad(same.total, (region, text))
    assert all(gradient.abs().max() < 1e-12 for gradient in gradients)


@each_caption
def test_the_order_of_pairs_changes_nothing(caption):
    region, text = pairs()
    order = torch.tensor([2, 0, 3, 1, 4])
    loss = TextRegionContrast(reduction="none")
    expected = loss(region, text, caption, VALID)[order]
    found = loss(region[order], text[order], None if caption is None else caption[order], VALID[order])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_an_empty_region_takes_no_part():
    """Its pair changes no other value, for any embeddings, NaN included; its own value is 0 and stays in the mean."""
    region, text = pairs()
    loss = TextRegionContrast()
    without = loss(region[VALID], text[VALID], CAPTION[VALID])
    value = loss(region, text, CAPTION, VALID)
    torch.testing.assert_close(value, without * 4 / 5, rtol=1e-12, atol=0)
    clean = torch.autograd.grad(value, (region, text))
    with torch.no_grad():
        region[2], text[2] = float("nan"), float("inf")
    dirty = loss(region, text, CAPTION, VALID)
    assert torch.equal(dirty, value)
    for one, other in zip(torch.autograd.grad(dirty, (region, text)), clean, strict=True):
        assert torch.equal(one, other)
        assert not one[2].any()


def test_when_all_regions_are_empty_the_loss_is_a_connected_zero():
    region, text = pairs()
    for parameters in ({}, {"learnable_temperature": True}):
        loss = TextRegionContrast(**parameters)
        value = loss(region, text, None, VALID & False)
        assert value == 0
        found = torch.autograd.grad(value, (region, text, *loss.parameters()))
        assert not any(gradient.any() for gradient in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("temperature", [0.01, 0.07])
def test_any_embedding_has_a_finite_loss_and_gradient(dtype, temperature):
    """Zero, 1e4, the smallest float16; opposite to its text, and equal to all others."""
    region, text = pairs()
    for factor in (0.0, 1e4, -1e4, 6e-8):
        for other in (text, region, -region, torch.ones_like(text), torch.zeros_like(text)):
            x = (region.detach().sign() * factor).to(dtype).requires_grad_()
            y = (other.detach().sign() * 1e4).to(dtype).requires_grad_()
            value = TextRegionContrast(temperature=temperature)(x, y)
            assert value.dtype == torch.float32
            assert value.isfinite()
            assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, (x, y)))


def test_a_zero_vector_has_a_gradient_of_ordinary_size_and_length_does_not_matter():
    region, text = pairs()
    longer = TextRegionContrast()(region * 1e3, text * 1e-1)
    torch.testing.assert_close(longer, TextRegionContrast()(region, text), rtol=1e-10, atol=0)
    with torch.no_grad():
        region[1] = 0
    (gradient,) = torch.autograd.grad(TextRegionContrast()(region, text), region)
    assert 0 < gradient[1].abs().max() < 256 * 2 / 0.07


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_and_autocast_equal_float32_of_the_rounded_input(dtype):
    region, text = pairs(dtype=dtype)
    expected = TextRegionContrast()(region.float(), text.float())
    assert torch.equal(TextRegionContrast()(region, text), expected)
    assert torch.equal(TextRegionContrast()(region, text.float()), expected)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(TextRegionContrast()(region, text), expected)


def test_the_temperature_is_fixed_or_learned():
    region, text = pairs()
    fixed, learned = TextRegionContrast(), TextRegionContrast(learnable_temperature=True)
    assert not list(fixed.parameters())
    assert fixed.state_dict() == {}
    assert list(learned.state_dict()) == ["logit_scale"]
    assert learned.logit_scale.item() == pytest.approx(-math.log(0.07))
    torch.testing.assert_close(learned(region, text), fixed(region, text), rtol=1e-6, atol=0)
    learned(region, text).backward()
    assert learned.logit_scale.grad.abs() > 0


def test_the_scale_ends_at_one_hundred_and_can_come_back():
    """Its value is bounded, its gradient that of the bound: clamp would leave no gradient, and no way back."""
    region, text = pairs()
    learned, at = TextRegionContrast(learnable_temperature=True), TextRegionContrast(temperature=0.01)
    with torch.no_grad():
        learned.logit_scale.fill_(math.log(150))
    value = learned(region, text)
    torch.testing.assert_close(value, at(region, text), rtol=1e-6, atol=0)
    (back,) = torch.autograd.grad(value, learned.logit_scale)
    assert back > 0  # wrong pairs are likelier: descent lowers the scale
    assert TextRegionContrast(temperature=0.001)(region, text) == at(region, text)
