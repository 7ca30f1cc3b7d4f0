"""SAM's losses as one function equal the same losses by their terms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lossreg
from lossreg_segmentation.statistics import implementation

pytestmark = pytest.mark.usefixtures("compiled")

WEIGHTS = [0.0, 1.0, 20.0]


@st.composite
def losses(draw):
    """Draw a loss of a SAM step, or a sum of two."""
    shared = {"ignore_index": draw(st.sampled_from([None, 255]))}
    params = {name: draw(st.sampled_from(WEIGHTS)) for name in ("focal_weight", "dice_weight", "iou_weight")}
    params["absent"] = draw(st.sampled_from(["score", "score", "ignore", "zero", "false_positives"]))
    sam = {"name": "sam", "params": params | shared}
    iou = {"name": "iou_prediction", "params": shared}
    both = {"name": "weighted_sum", "params": {"terms": [sam, {**iou, "weight": draw(st.sampled_from([0.0, 2.0]))}]}}
    return lossreg.build(draw(st.sampled_from([sam, sam, iou, both])))


@st.composite
def steps(draw):
    """Draw logits of masks, their target, and predicted IoUs; some targets are empty or ignored."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    examples, masks, size = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from([(2, 3), (40, 64)]))
    x = 3 * torch.randn(examples, masks, *size, generator=generator)
    if draw(st.integers(0, 9)) == 0:
        x[0, 0, 0, 0] = draw(st.sampled_from([torch.inf, -torch.inf, torch.nan]))
    t = (torch.rand(examples, *size, generator=generator) < 0.3).to(torch.uint8)
    t[0] = draw(st.sampled_from([0, 0, 1]))
    iou = torch.rand(examples, masks, generator=generator)
    return x.to(draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))), t, iou


def outcome(compute, x, iou):
    """Return the value and both gradients."""
    leaves = x.clone().requires_grad_(), iou.clone().requires_grad_()
    value = compute(*leaves)
    weights = torch.linspace(0.5, 2, value.numel(), dtype=value.dtype).view(value.shape)
    return value.detach(), *torch.autograd.grad(value, leaves, weights, allow_unused=True)


def close(found, expected, dtype):
    """Compare tensors, in which None is zero."""
    for one, other in zip(found, expected, strict=True):
        if one is None or other is None:
            assert not any(gradient is not None and gradient.any() for gradient in (one, other))
            continue
        rounding = 2**-7 if torch.bfloat16 in (one.dtype, dtype) else 1e-9 if dtype == torch.float64 else 2e-5
        top = other.double().nan_to_num(0, 0, 0).abs().max().item()
        atol = 1e-6 * max(top, 1e-3)
        torch.testing.assert_close(one.double(), other.double(), rtol=rounding, atol=atol, equal_nan=True)


@pytest.mark.parametrize("name", ["tiled", "numba"])
def test_one_function_equals_the_terms(name):
    """Value, gradients to logits and predicted IoUs, components and values per example."""

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(losses(), steps())
    def holds(loss, step):
        x, t, iou = step
        with implementation(name):
            for reduction in ("mean", "sum", "none"):
                loss.reduction = reduction
                expected = outcome(lambda a, b, r=reduction: loss._by_terms(r, (a, t, b), {}), x, iou)
                close(outcome(lambda a, b: loss(a, t, b), x, iou), expected, x.dtype)
            loss.reduction = "mean"
            output = loss.evaluate(x, t, iou)
            loss.plan = lambda *_: None
            expected = loss.evaluate(x, t, iou)
        assert list(output.components) == list(expected.components)
        close(output.components.values(), expected.components.values(), x.dtype)
        close(output.per_example_components.values(), expected.per_example_components.values(), x.dtype)
        close([output.per_example], [expected.per_example], x.dtype)

    holds()


def test_tensors_of_inference_mode_train_an_iou_head():
    """Masks of a frozen model; and predicted IoUs of one, where the masks train."""
    with torch.inference_mode():
        x, t, iou = torch.randn(2, 3, 8, 8), torch.ones(2, 8, 8, dtype=torch.uint8), torch.rand(2, 3)
    head = torch.rand(2, 3, requires_grad=True)
    lossreg.build("iou_prediction")(x, t, head).backward()
    assert head.grad.abs().sum() > 0
    leaf = torch.randn(2, 3, 8, 8, requires_grad=True)
    lossreg.build("sam")(leaf, t, iou).backward()
    assert leaf.grad.abs().sum() > 0


def test_predicted_ious_may_be_changed_before_backward():
    """If they do not train, for the loss is done with them."""
    leaf, t, iou = torch.randn(2, 3, 8, 8, requires_grad=True), torch.ones(2, 8, 8), torch.rand(2, 3)
    value = lossreg.build("sam")(leaf, t, iou)
    iou.clamp_(0, 0.5)
    value.backward()
    assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize("create", [False, True])
def test_an_iou_of_weight_zero_trains_nothing(create):
    """Its gradient is zero, also under create_graph=True; alone, the loss is not connected, as by the terms."""
    loss = lossreg.build("sam", iou_weight=0.0)
    x, t, iou = torch.randn(2, 3, 8, 8), torch.ones(2, 8, 8), torch.rand(2, 3)
    leaf, head = x.clone().requires_grad_(), iou.clone().requires_grad_()
    gradients = torch.autograd.grad(loss(leaf, t, head), (leaf, head), create_graph=create, allow_unused=True)
    assert gradients[0].abs().sum() > 0
    assert gradients[1] is None or not gradients[1].any()
    assert not loss(x, t, head).requires_grad
