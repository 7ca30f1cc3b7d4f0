"""Weights and other numbers per class keep their values in a model of any type and on any device."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import lossreg
import lossreg_segmentation
from lossreg_segmentation.class_numbers import as_like

from .cases import build, hard_target, logits

WEIGHTS = [0.1, 0.9, 5.0]
DISTANCES = [[0.0, 3.0, 3.0], [3.0, 0.0, 1.0], [3.0, 1.0, 0.0]]
NUMBERS = {
    "bce": ("multilabel", "pos_weight", [0.1, 1e5, 5.0]),
    "cross_entropy": ("multiclass", "class_weight", WEIGHTS),
    "dice": ("multilabel", "class_weight", WEIGHTS),
    "topk": ("multiclass", "class_weight", WEIGHTS),
    "generalized_dice": ("multiclass", "class_weight", WEIGHTS),
    "focal": ("multiclass", "alpha", WEIGHTS),
    "wasserstein_dice": ("multiclass", "distances", DISTANCES),
}
each = pytest.mark.parametrize("name", NUMBERS)


def made(name):
    task, key, values = NUMBERS[name]
    return build(name, task, **{key: values}), logits(task), hard_target(task)


def on_meta(name):
    with torch.device("meta"):
        return made(name)[0].to_empty(device="cpu")


CHANGES = {
    "half": lambda name: made(name)[0].half(),
    "bfloat16": lambda name: made(name)[0].bfloat16(),
    "to": lambda name: made(name)[0].to(torch.float16),
    "double": lambda name: made(name)[0].double(),
    "built on meta": on_meta,
    "moved to meta": lambda name: made(name)[0].to("meta").to_empty(device="cpu"),
    "in a model": lambda name: torch.nn.Sequential(torch.nn.Linear(1, 1), made(name)[0]).half()[1],
}


@each
@pytest.mark.parametrize("change", CHANGES)
def test_numbers_per_class_keep_their_values_in_every_change_of_the_model(name, change):
    """Float16 has no 1e5, and a buffer on meta has no values; no checkpoint could give them back."""
    loss, x, t = made(name)
    changed = CHANGES[change](name)
    assert torch.equal(changed(x, t), loss(x, t))
    assert changed.state_dict() == {}


def test_a_large_weight_in_half_precision_is_finite():
    """-pos_weight log 0.5 at a logit of 0: 1e5 log 2 = 69314.718."""
    loss = lossreg.build({"name": "bce", "params": {"pos_weight": 1e5}}).half()
    x = torch.zeros(1, 1, 8, 8, requires_grad=True)
    value = loss(x, torch.ones(1, 1, 8, 8))
    value.backward()
    assert value.item() == pytest.approx(69314.718, rel=1e-6)
    assert x.grad[0, 0, 0, 0].item() == pytest.approx(-50000 / 64)
    assert loss.pos_weight == 1e5


def test_float64_logits_have_weights_of_float64():
    """Equal to torch, given weights of float64, in every digit but the last."""
    x, t = logits("multiclass"), hard_target("multiclass")
    expected = cross_entropy(x, t, torch.tensor(WEIGHTS, dtype=torch.float64)).item()
    for plan in (True, False):
        loss = build("cross_entropy", batch=True, class_weight=WEIGHTS)
        found = loss(x, t) if plan else loss._by_terms("mean", (x, t), {})
        assert found.item() == pytest.approx(expected, rel=1e-14)
    x, t = logits("multilabel"), hard_target("multilabel").double()
    expected = binary_cross_entropy_with_logits(
        x, t, pos_weight=torch.tensor(WEIGHTS, dtype=torch.float64).view(3, 1, 1)
    )
    assert build("bce", "multilabel", pos_weight=WEIGHTS)(x, t).item() == pytest.approx(expected.item(), rel=1e-14)


@each
def test_numbers_per_class_may_learn(name):
    """A parameter in their place has a gradient, and so has the tensor itself once it requires one."""
    loss, x, t = made(name)
    attribute = "alpha_per_class" if name == "focal" else NUMBERS[name][1]
    loss(x, t)
    setattr(loss, attribute, torch.nn.Parameter(getattr(loss, attribute)))
    loss(x, t).backward()
    assert getattr(loss, attribute).grad.abs().sum() > 0
    assert attribute in loss.state_dict()
    loss, x, t = made(name)
    loss(x, t)
    getattr(loss, attribute).requires_grad_()
    loss(x, t).backward()
    assert getattr(loss, attribute).grad.abs().sum() > 0


def test_numbers_are_copied_to_another_device_once():
    """Until they change in place. Meta stands for a device to which a copy waits."""
    values, elsewhere = torch.tensor(WEIGHTS, dtype=torch.float64), torch.empty(2, 3, device="meta")
    first = as_like(values, elsewhere)
    assert (first.device.type, first.dtype) == ("meta", torch.float32)
    assert as_like(values, elsewhere) is first
    assert as_like(values, elsewhere.double()).dtype == torch.float64
    values.mul_(2)
    assert as_like(values, elsewhere) is not first


def test_numbers_made_in_inference_mode_can_train():
    with torch.inference_mode():
        loss = build("dice", class_weight=WEIGHTS)
    x, t = logits("multiclass").requires_grad_(), hard_target("multiclass")
    loss(x, t).backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.tools
@each
def test_a_compiled_loss_reads_its_numbers_without_a_break(name):
    loss, x, t = made(name)
    compiled = torch.compile(loss.half(), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, t), loss(x, t), rtol=1e-12, atol=0)


def test_numbers_per_class_may_be_tensors():
    """As torch's losses take them; in a config they are lists."""
    x, t = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    listed = lossreg_segmentation.Focal(alpha=[0.5, 0.25, 1.0], classes=[0, 2])(x, t)
    assert (
        lossreg_segmentation.Focal(alpha=torch.tensor([0.5, 0.25, 1.0]), classes=torch.tensor([0, 2]))(x, t) == listed
    )


def test_numbers_per_class_of_other_axes_are_told_to_lose_them():
    """torch's BCEWithLogitsLoss takes (C, 1, 1)."""
    x, t = torch.randn(2, 3, 4, 5), torch.randint(2, (2, 3, 4, 5))
    with pytest.raises(lossreg.ShapeError, match=r"pos_weight has shape \(3, 1, 1\), .*: use pos_weight.flatten\(\)"):
        lossreg_segmentation.BCE(pos_weight=torch.ones(3, 1, 1))(x, t)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_weights_of_classes_are_checked_without_a_config_too(wrong):
    with pytest.raises(lossreg.InputError, match="class_weight must be finite numbers >= 0, got"):
        lossreg_segmentation.Dice(class_weight=[wrong, 1.0])
