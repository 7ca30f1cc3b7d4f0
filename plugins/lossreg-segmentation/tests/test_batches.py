"""The reduction of the values of examples: averages over them, one large image, components and classes."""

from __future__ import annotations

import pytest
import torch

import lossreg

from .cases import (
    EVERY_CASE,
    NAMES,
    SORTED,
    build,
    every_name,
    hard_target,
    logits,
    tasks_of,
    value_and_gradient,
)

pytestmark = pytest.mark.usefixtures("on_reference")

MIXTURES = {
    "bce_dice_focal": {"bce": 0.4, "dice": 0.4, "focal": 0.2},
    "unified_focal": {"asymmetric_focal": 0.5, "asymmetric_focal_tversky": 0.5},
}


def ragged(task):
    """Return a target whose examples have 15, 8, 0 and 1 valid pixels."""
    t = hard_target(task)
    flat = t.view(4, -1, 15)
    flat[1, :, 8:], flat[2], flat[3, :, 1:] = 7, 7, 7
    return t


@pytest.mark.parametrize("name, task", [case for case in EVERY_CASE if case[0] in (*NAMES, *SORTED)])
def test_batch_true_is_one_large_image(name, task):
    """The same pixels side by side in one example give the same value; the order of examples has no effect."""
    x, t = logits(task), ragged(task)
    wide = torch.cat(list(x), -1).unsqueeze(0), torch.cat(list(t), -1).unsqueeze(0)
    loss = build(name, task, batch=True, ignore_index=7)
    one = build(name, task, ignore_index=7)(*wide)
    assert loss(x, t).item() == pytest.approx(one.item(), rel=1e-12)
    assert loss(x.flip(0), t.flip(0)).item() == pytest.approx(one.item(), rel=1e-12)
    assert loss.evaluate(x, t).per_example is None


@every_name
def test_components_are_detached_and_weigh_up_to_the_total(name):
    """One component per term; those of the mixture before their weights."""
    task = tasks_of(name)[0]
    total, components = lossreg.evaluate(build(name), logits(task).requires_grad_(), hard_target(task))
    weights = MIXTURES.get(name, {name: 1.0})
    assert set(components) == set(weights)
    assert not any(value.requires_grad for value in components.values())
    assert total.requires_grad
    assert sum(weights[key] * value.item() for key, value in components.items()) == pytest.approx(total.item())


def test_the_components_of_the_mixture_are_the_three_losses():
    """For any weights: a component of weight 0 is still logged."""
    x, t = logits("multilabel"), hard_target("multilabel")
    loss = build("bce_dice_focal", "multilabel", bce_weight=0.0, dice_weight=3.0)
    components = loss.evaluate(x, t).components
    for name in ("bce", "dice", "focal"):
        assert components[name].item() == pytest.approx(build(name, "multilabel")(x, t).item(), rel=1e-12)
    assert loss(x, t).item() == pytest.approx(3 * components["dice"].item() + 0.2 * components["focal"].item())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("bce", "bce_dice_focal")])
def test_a_class_of_weight_zero_leaves_value_and_gradient(name):
    """Multilabel classes are independent: the logits of class 0 get a gradient of exactly zero."""
    x, t = logits("multilabel"), hard_target("multilabel")
    weighed = build(name, "multilabel", class_weight=[0.0, 1.0, 1.0])
    value, gradient = value_and_gradient(weighed, x, t)
    assert value.item() == pytest.approx(build(name, "multilabel")(x[:, 1:], t[:, 1:]).item(), rel=1e-12)
    assert (gradient[:, 0] == 0).all()
    assert (gradient[:, 1:] != 0).all()
