"""The debug switch: it reports NaN logits and empty steps, repairs nothing, and is disabled by default."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
import torch

import lossreg
from lossreg_segmentation import statistics

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
    monkeypatch.setattr(statistics, "check_values", lambda target, *others: read.append(target.device.type))
    x, t = logits("binary").to("meta"), hard_target("binary").to("meta")
    assert build("dice")(x, t).device.type == "meta"
    assert read == []
    with lossreg.debug_checks():
        build("dice")(x, t)
    assert read == ["meta"]
