"""Targets in the unsigned types of 16-bit pictures, with which torch can compute next to nothing."""

from __future__ import annotations

import pytest
import torch

from .cases import DENSE, build, hard_target, logits, tasks_of, value_and_gradient

SHORT = {"cldice": {"iterations": 2}, "hausdorff_er": {"erosions": 2}}


@pytest.mark.parametrize("index", [None, 1000], ids=["all", "ignored"])
@pytest.mark.parametrize("name", DENSE)
def test_an_unsigned_target_is_the_same_target(name, index):
    """As class indices or masks, and with an ignored value that 8 bits do not hold."""
    task = tasks_of(name)[-1]
    x, t = logits(task, size=(4, 5)), hard_target(task, size=(4, 5))
    if index is not None:
        t[..., 0, :] = index
    loss = build(name, task, ignore_index=index, **SHORT.get(name, {}))
    expected = value_and_gradient(loss, x, t)
    for dtype in (torch.uint16, torch.uint32, torch.uint64):
        torch.testing.assert_close(value_and_gradient(loss, x, t.to(dtype)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["dice", "topk", "boundary"])
def test_masks_of_8_bit_floats_are_the_same_masks(name):
    """torch can only store them. Here 2 marks ignored pixels."""
    x, t = logits("binary"), hard_target("binary")
    t[..., 0, :] = 2
    loss = build(name, "binary", ignore_index=2)
    found = value_and_gradient(loss, x, t.to(torch.float8_e4m3fn))
    torch.testing.assert_close(found, value_and_gradient(loss, x, t), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", DENSE)
def test_half_precision_is_that_of_the_types_of_logits_alone(name, dtype):
    """The value is that of the same numbers in float32, and the gradient that one rounded once."""
    task = tasks_of(name)[-1]
    x, t, loss = logits(task, dtype=dtype), hard_target(task), build(name, task, **SHORT.get(name, {}))
    value, gradient = value_and_gradient(loss, x.float(), t)
    found, half = value_and_gradient(loss, x, t)
    assert torch.equal(found, value)
    assert torch.equal(half, gradient.to(dtype))
