"""Any finite logit, half precision, autocast and large images."""

from __future__ import annotations

import pytest
import torch

from .oracles import build, step, value_and_gradients

each_name = pytest.mark.parametrize("name", ["sam", "iou_prediction"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@each_name
def test_logits_of_ten_thousand_have_finite_value_and_gradients(name, dtype):
    """Against empty, full, mixed and soft targets."""
    x, t, iou = step(dtype=torch.float32)
    for logits in (torch.full_like(x, 1e4), torch.full_like(x, -1e4), x.sign() * 1e4):
        for target in (torch.zeros_like(t), torch.ones_like(t), t, t * 0.6 + 0.2):
            found = value_and_gradients(build(name), logits.to(dtype), target, iou.to(dtype))
            assert all(tensor.isfinite().all() for tensor in found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@each_name
def test_half_precision_equals_float32_of_the_rounded_input(name, dtype):
    x, t, iou = step(dtype=dtype)
    value, to_logits, to_iou = value_and_gradients(build(name), x, t, iou)
    expected, logits_wide, iou_wide = value_and_gradients(build(name), x.float(), t, iou.float())
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert torch.equal(to_logits, logits_wide.to(dtype))
    assert torch.equal(to_iou, iou_wide.to(dtype))


@each_name
def test_autocast_changes_nothing(name):
    x, t, iou = step(dtype=torch.float32)
    expected = value_and_gradients(build(name), x, t, iou)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = value_and_gradients(build(name), x, t, iou)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sums_of_a_large_half_precision_mask_do_not_overflow(dtype):
    """512 x 512 pixels of p = 1 sum to four times the largest float16; SAM 2 dice is NaN there."""
    x = torch.full((1, 2, 512, 512), 12.0, dtype=dtype)
    iou = torch.ones(1, 2, dtype=dtype)
    value, to_logits, _ = value_and_gradients(build("sam"), x, torch.ones(1, 512, 512, dtype=torch.bool), iou)
    assert 0 <= value < 1e-3
    assert to_logits.isfinite().all()
    assert build("iou_prediction")(x, torch.ones(1, 512, 512), iou) == 0


def test_gamma_below_one_has_a_finite_gradient_at_certainty():
    """(1 - p_t)^0.5 has an infinite slope at p_t = 1."""
    _, t, iou = step()
    x = (t * 2.0 - 1).unsqueeze(1).repeat(1, 3, 1, 1) * 1000
    value, to_logits, _ = value_and_gradients(build("sam", gamma=0.5), x, t, iou)
    assert value.isfinite()
    assert to_logits.isfinite().all()
