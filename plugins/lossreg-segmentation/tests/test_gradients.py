"""Gradients: equal to finite differences, present, and finite where naive formulas are not."""

from __future__ import annotations

import pytest
import torch

import lossreg

from .cases import (
    EVERY_CASE,
    HARD,
    SORTED,
    build,
    each_case,
    fits,
    hard_target,
    logits,
    own,
    target_of,
    value_and_gradient,
    without_class,
)

pytestmark = pytest.mark.usefixtures("on_reference")

SIZES = {"batch": 2, "size": (2, 2)}
# Hard targets without options: the conformance kit.
OPTIONS = {
    "soft": ("soft", {}),
    "batch": ("hard", {"batch": True}),
    "class_weight": ("hard", {"class_weight": [0.5, 2.0, 1.0]}),
    "ignore": ("soft", {"absent": "ignore"}),
    "false_positives": ("hard", {"absent": "false_positives"}),
}
TWICE = (*SORTED, *HARD, "wasserstein_dice")


@pytest.mark.parametrize(
    "name, task, label",
    [(*case, label) for case in EVERY_CASE for label, (_, options) in OPTIONS.items() if fits(*case, options)],
)
def test_gradients_through_the_options_equal_finite_differences(name, task, label):
    """float64 gradcheck, with own parameters, an ignored pixel and, in the first example, an absent class."""
    kind, options = OPTIONS[label]
    x, t = logits(task, **SIZES).requires_grad_(), without_class(target_of(task, kind, **SIZES), task)
    t[1, ..., 0, 0] = 7
    loss = build(name, task, ignore_index=7, **options, **own(name, task))
    assert torch.autograd.gradcheck(lambda x: loss(x, t), (x,))
    if name in TWICE:
        assert torch.autograd.gradgradcheck(lambda x: loss(x, t), (x,))


@each_case
def test_the_result_is_connected_and_every_pixel_gets_a_gradient(name, task):
    """No argmax, one-hot or detach of the prediction cuts the graph between loss and logits."""
    x, t = logits(task).requires_grad_(), hard_target(task)
    loss = build(name, task)(x, t)
    assert loss.requires_grad
    assert loss.shape == ()
    loss.backward()
    assert x.grad.isfinite().all()
    assert (x.grad != 0).all()


@each_case
def test_a_step_down_the_gradient_lowers_the_loss(name, task):
    x, t = logits(task), hard_target(task)
    value, gradient = value_and_gradient(build(name, task), x, t)
    assert build(name, task)(x - 0.1 * gradient, t) < value


@pytest.mark.parametrize(
    "name, task", [case for case in EVERY_CASE if case[0] not in ("boundary", "hausdorff_er", "region_size")]
)
def test_a_right_prediction_costs_less_than_a_wrong_one(name, task):
    """Sign and direction: nearly 0 for confident and right, the reverse far above it."""
    t = hard_target(task)
    masks = torch.nn.functional.one_hot(t, 3).movedim(-1, 1) if task == "multiclass" else t
    right = (masks * 2.0 - 1) * 12
    loss = build(name, task)
    assert -1e-6 <= loss(right, t) < (0.03 if name == "asymmetric_focal_tversky" else 2e-3)
    assert loss(-right, t) > 0.35


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name, task", [("focal", "binary"), ("focal", "multiclass"), ("bce_dice_focal", "binary")])
def test_focal_with_gamma_below_one_has_a_finite_gradient_at_certainty(name, task, dtype):
    """(1 - p_t)^0.5 has an infinite slope at p_t = 1; at logits of 1000, 1 - p_t is 0 even in float64."""
    t = hard_target(task)
    masks = torch.nn.functional.one_hot(t, 3).movedim(-1, 1) if task == "multiclass" else t
    x = ((masks * 2.0 - 1) * 1000).to(dtype)
    for target in (t, t.float()) if task == "binary" else (t, masks.float()):
        value, gradient = value_and_gradient(build(name, task, gamma=0.5), x, target)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_focal_tversky_has_a_finite_gradient_on_a_perfect_mask():
    """(1 - s)^0.75 has an infinite slope at s = 1, which float32 reaches at logits of 100."""
    t = hard_target("binary")
    x = (t * 2.0 - 1).float() * 100
    for gamma in (0.25, 0.75, 1.0):
        value, gradient = value_and_gradient(lossreg.build({"name": "focal_tversky", "params": {"gamma": gamma}}), x, t)
        assert 0 <= value < 0.02
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["focal", "bce_dice_focal"])
def test_gamma_zero_is_finite_at_certainty(name):
    """0 * log(0) would be NaN."""
    t = hard_target("binary")
    x = (t * 2.0 - 1) * 1e4
    for target in (t, t.double()):
        value, gradient = value_and_gradient(build(name, gamma=0.0), x, target)
        assert value.isfinite()
        assert gradient.isfinite().all()
