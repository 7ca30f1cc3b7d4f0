"""The debug switch: it reports NaN logits and empty steps, repairs nothing, and is disabled by default."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
import torch

import lossreg
from lossreg import messages
from lossreg_segmentation.statistics import value_checks

from .cases import build, each_case, hard_target, logits


@each_case
def test_nan_logits_are_named_under_the_switch_and_never_repaired(name, task):
    """Disabled, the loss is NaN like the logits. Enabled, the error names the first NaN and its position."""
    x, t = logits(task), hard_target(task)
    x[1, 0, 2, 3] = float("nan")
    loss = build(name, task)
    assert loss(x, t).isnan()
    message = r"input contains 1 NaN or infinite logits, the first at \(1, 0, 2, 3\): nan; find the layer"
    with lossreg.debug_checks(), pytest.raises(lossreg.InputError, match=message):
        loss(x, t)
    assert loss(x, t).isnan()


def test_infinite_logits_are_counted():
    x, t = logits("multilabel"), hard_target("multilabel")
    x[0, 2, 1, 1], x[3, 0, 0, 0] = float("inf"), -float("inf")
    with lossreg.debug_checks(), pytest.raises(lossreg.InputError, match=r"2 NaN or .* first at \(0, 2, 1, 1\): inf"):
        build("dice", "multilabel")(x, t)


@each_case
def test_nan_under_an_ignored_pixel_is_no_error(name, task):
    """Logits of ignored pixels may have any value."""
    x, t = logits(task), hard_target(task)
    x[1, :, 2, 3], t[1, ..., 2, 3] = float("nan"), 9
    with lossreg.debug_checks():
        assert build(name, task, ignore_index=9)(x, t).isfinite()


@each_case
def test_a_batch_that_is_ignored_whole_warns_under_the_switch_alone(name, task):
    x, t = logits(task).requires_grad_(), torch.full_like(hard_target(task), 255)
    loss = build(name, task, ignore_index=255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loss(x, t).item() == 0
    with lossreg.debug_checks(), pytest.warns(UserWarning, match=r"every pixel .* \(ignore_index=255\)") as caught:
        value = loss(x, t)
    assert "check how the targets are made, or skip such batches" in str(caught[0].message)
    assert value.item() == 0
    assert value.requires_grad


@each_case
def test_a_healthy_batch_is_the_same_under_the_switch(name, task):
    x, t = logits(task), hard_target(task)
    loss = build(name, task)
    with lossreg.debug_checks():
        checked = loss(x, t)
    assert torch.equal(checked, loss(x, t))


SWITCHED = """
import lossreg, torch
loss, x, t = lossreg.build("dice"), torch.full((1, 1, 4, 4), float("nan")), torch.ones(1, 1, 4, 4)
try:
    loss(x, t)
except lossreg.InputError as error:
    print(error)
with lossreg.debug_checks(False):
    print(loss(x, t).item())
"""


@pytest.mark.tools
def test_the_environment_is_a_switch_too():
    """LOSSREG_DEBUG=1 for the process; debug_checks(False) disables it for a block."""
    environment = {**os.environ, "LOSSREG_DEBUG": "1"}
    run = subprocess.run([sys.executable, "-c", SWITCHED], env=environment, capture_output=True, text=True, check=True)
    assert "NaN or infinite logits" in run.stdout
    assert run.stdout.endswith("nan\n")


def test_target_values_off_the_cpu_are_read_under_the_switch_alone(monkeypatch):
    """Reading them costs a device sync. The meta device replaces a GPU."""
    read = []
    monkeypatch.setattr(value_checks, "check_values", lambda target, *others: read.append(target.device.type))
    x, t = logits("binary").to("meta"), hard_target("binary").to("meta")
    assert build("dice")(x, t).device.type == "meta"
    assert read == []
    with lossreg.debug_checks():
        build("dice")(x, t)
    assert read == ["meta"]


@each_case
def test_probabilities_in_the_place_of_logits_are_told_once(name, task, monkeypatch):
    """By their range. Logits themselves cause no warning."""
    monkeypatch.setattr(messages, "_warned", set())
    x, t, loss = logits(task), hard_target(task), build(name, task)
    p = x.softmax(1) if task == "multiclass" else x.sigmoid()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(p, t)
        with lossreg.debug_checks():
            loss(x, t)
    with lossreg.debug_checks():
        with pytest.warns(UserWarning, match=r"as probabilities do, .* ends in sigmoid or softmax, leave that out$"):
            loss(p, t)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loss(p, t)


def test_equal_logits_and_those_of_ignored_pixels_are_no_probabilities(monkeypatch):
    """A new head often begins with logits of 0; an ignored logit may have any value."""
    monkeypatch.setattr(messages, "_warned", set())
    x, t = logits("binary"), hard_target("binary")
    with warnings.catch_warnings(), lossreg.debug_checks():
        warnings.simplefilter("error")
        build("dice")(torch.zeros_like(x), t)
    x, t = x.sigmoid(), t.clone()
    x[0, 0, 0, 0], t[0, 0, 0, 0] = -3.0, 255
    with lossreg.debug_checks(), pytest.warns(UserWarning, match="as probabilities do"):
        build("dice", ignore_index=255)(x, t)


@pytest.mark.parametrize("name", ["dice", "cross_entropy", "topk", "lovasz_softmax"])
def test_masks_that_overlap_are_no_exclusive_classes(name):
    """They are named under the switch; independent masks and soft classes in half precision are not."""
    x, t = logits("multiclass"), torch.zeros(4, 3, 3, 5, dtype=torch.uint8)
    t[:, 0], t[1, 1, 2, 3], t[2, 1:, 0, 0] = 1, 1, 255
    loss = build(name, "multiclass", ignore_index=255)
    loss(x, t)
    message = r"masks that overlap, 2 of them at \(1, 2, 3\) .* exclude each other; use task='multilabel'$"
    with lossreg.debug_checks(), pytest.raises(lossreg.InputError, match=message):
        loss(x, t)
    with lossreg.debug_checks():
        loss(x, torch.rand(4, 3, 3, 5).mul(4).softmax(1).bfloat16())
        if name != "lovasz_softmax":
            assert build(name, "multilabel", ignore_index=255)(x, t).isfinite()


@pytest.mark.parametrize("kind", ["classes", "masks"])
def test_classes_left_out_by_infinite_logits_are_no_error(kind):
    """Data sets that do not label a class set its logits to -inf; a target that has the class is an error."""
    x, t = logits("multiclass"), hard_target("multiclass").clamp(max=1)
    x[:, 2] = -torch.inf
    target = t if kind == "classes" else torch.nn.functional.one_hot(t, 3).movedim(-1, 1)
    loss = build("dice", "multiclass")
    with lossreg.debug_checks():
        assert torch.equal(loss(x, target), loss(x, t))
        wrong = target.clone()
        wrong[(0, 1, 2) if kind == "classes" else (0, slice(None), 1, 2)] = (
            2 if kind == "classes" else torch.tensor([0, 0, 1])
        )
        with pytest.raises(lossreg.InputError, match=r"1 NaN or infinite logits, the first at \(0, 2, 1, 2\): -inf"):
            loss(x, wrong)
        x[:, 2] = torch.inf
        with pytest.raises(lossreg.InputError, match=r"60 NaN or infinite logits"):
            loss(x, target)


@pytest.mark.parametrize("name", ["dice", "topk"])
def test_a_batch_in_which_nothing_weighs_is_warned_of(name):
    """As if every pixel were ignored; a NaN logit that does not weigh is no mistake."""
    x, t = logits("binary"), hard_target("binary")
    x[..., 0] = float("nan")
    weight = (~x.isnan()).double()
    loss = build(name, "binary")
    with lossreg.debug_checks(), warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(x, t, weight=weight)
        with pytest.raises(UserWarning, match=r"every pixel of the batch is ignored .*or weight 0.*: the loss and its"):
            loss(x, t, weight=0 * weight)


def test_channels_in_the_last_axis_are_told_of(monkeypatch):
    """Of images (N, H, W, C), whose rows would be the channels. Usual shapes and narrow images cause no word."""
    monkeypatch.setattr(messages, "_warned", set())
    x = torch.randn(2, 16, 12, 3, generator=torch.Generator().manual_seed(0))
    t = torch.nn.functional.one_hot(x.argmax(-1), 3)
    t[0, 0, 0] = 255
    masks, classes = build("bce", ignore_index=255), build("dice", "multiclass", ignore_index=255)
    message = r"shape \(2, 16, 12, 3\), and the loss takes axis 1 as the channels: .*, use \.movedim\(-1, 1\) on both$"
    with warnings.catch_warnings(), lossreg.debug_checks():
        warnings.simplefilter("error")
        for loss in (masks, classes):
            assert loss(x.movedim(-1, 1), t.movedim(-1, 1)).isfinite()  # as the messages advise
        masks(x.movedim(1, 2)[:, :, :3], t.movedim(1, 2)[:, :, :3])
        with pytest.raises(UserWarning, match=message):
            masks(x, t)
        with pytest.raises(lossreg.InputError, match=r"the last axis do not overlap: .*\.movedim\(-1, 1\) on both ten"):
            classes(x, t)
        with pytest.raises(lossreg.InputError, match=r"exclude each other; use task='multilabel'$"):
            classes(x, torch.ones_like(t))
