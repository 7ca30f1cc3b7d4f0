"""Any finite logit and large images: finite. Half precision and autocast: the conformance kit."""

from __future__ import annotations

import pytest
import torch

from .cases import (
    CHANNELS,
    NAMES,
    OVERLAP,
    SHARP,
    build,
    hard_target,
    logits,
    soft_target,
    tasks_of,
    value_and_gradient,
)

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def extreme_targets(task):
    """Return targets of zeros, of ones (every class in turn) and mixed ones; hard and soft."""
    mixed = hard_target(task)
    top = CHANNELS[task] if task == "multiclass" else 2
    return [*(torch.full_like(mixed, value) for value in range(top)), mixed, soft_target(task).float()]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name, task", [(name, task) for name in SHARP for task in tasks_of(name)])
@pytest.mark.usefixtures("on_reference")
def test_logits_of_ten_thousand_have_finite_value_and_gradient(name, task, dtype):
    """One sign, both, 0, right and wrong: cases in which naive formulas fail. The conformance kit has the others."""
    signs = logits(task, seed=3).sign()
    loss = build(name, task, **SHARP[name])
    for t in extreme_targets(task):
        masks = torch.nn.functional.one_hot(t, 3).movedim(-1, 1) if t.ndim < signs.ndim else t
        for pattern in (torch.ones_like(signs), -torch.ones_like(signs), 0 * signs, signs, masks * 2 - 1):
            value, gradient = value_and_gradient(loss, (pattern * 1e4).to(dtype), t)
            assert value.isfinite()
            assert value >= -1e-6
            assert gradient.isfinite().all()
            assert gradient.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "mcc"])
def test_sums_of_a_large_half_precision_image_do_not_overflow(name, dtype):
    """512 x 512 pixels of p = 0.95: 249700 are above the 65504 of float16, and bfloat16 stops counting at 256."""
    x = torch.full((1, 1, 512, 512), 3.0, dtype=dtype)
    t = torch.ones(1, 1, 512, 512, dtype=torch.uint8)
    for target in (t, 1 - t):
        value, gradient = value_and_gradient(build(name), x, target)
        assert value.item() == pytest.approx(build(name)(x.double(), target).item(), rel=1e-3)
        assert gradient.isfinite().all()


@pytest.mark.parametrize(
    "name", [name for name in (*OVERLAP, "generalized_dice") if name not in ("log_cosh_dice", "mcc")]
)
def test_smooth_zero_is_finite_on_empty_masks(name):
    """0 / 0 is a score of 0, as documented: empty on empty costs 1."""
    x = torch.full((1, 1, 8, 8), -200.0)
    value, gradient = value_and_gradient(build(name, smooth=0.0), x, torch.zeros(1, 1, 8, 8))
    assert value == 1
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["bce", "cross_entropy"])
def test_cross_entropy_of_a_large_wrong_logit_is_the_logit(name):
    """-log p is x for a logit of -x: never clipped, so its gradient never vanishes."""
    x = torch.full((1, 1, 2, 2), -1e4)
    value, gradient = value_and_gradient(build(name), x, torch.ones(1, 1, 2, 2))
    assert value == 1e4
    assert gradient.flatten().tolist() == pytest.approx([-0.25] * 4, rel=1e-6)
