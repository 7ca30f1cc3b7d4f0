"""Logits of -inf, which keep classes out that an image's data set does not label: as if there were no such class."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from lossreg_segmentation.statistics import implementation, mask_statistics

from .cases import DENSE, build, hard_target, logits, tasks_of, value_and_gradient

SHORT = {"cldice": {"iterations": 2}, "hausdorff_er": {"erosions": 2}}
# Their value is a mean over classes, in which the class that is kept out counts as one more.
ALL_PIXELS = ("topk", "ohem_cross_entropy")


def masked(name, dtype):
    """Return logits with -inf in the last class, and a target without it."""
    task = tasks_of(name)[-1]
    x, t = logits(task, dtype=dtype), hard_target(task)
    if task == "multiclass":
        t = t.clamp_max(1)
    else:
        t[:, -1] = 0
    x[:, -1] = -torch.inf
    return x, t, task


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", DENSE)
def test_a_class_without_probability_has_the_loss_and_the_gradient_of_a_very_small_one(name, dtype):
    """That of logits of -10,000, whose probability is 0 in every type; the class itself has no gradient."""
    x, t, task = masked(name, dtype)
    loss = build(name, task, **SHORT.get(name, {}))
    value, gradient = value_and_gradient(loss, x, t)
    expected, other = value_and_gradient(loss, x.clamp_min(-1e4), t)
    assert value.isfinite()
    torch.testing.assert_close((value, gradient), (expected, other))
    assert gradient[:, -1].double().abs().max() <= 1e-37  # Numba's exponential of float32 is e^-87 at least


@pytest.mark.parametrize("options", [{}, {"class_weight": [1.0, 2.0, 3.0]}], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ALL_PIXELS)
def test_means_over_pixels_are_those_without_the_class(name, options):
    """Two of three classes are left, and the weight of the third has no effect."""
    x, t, task = masked(name, torch.float64)
    left = {key: values[:2] for key, values in options.items()}
    expected = build(name, task, **left)(x[:, :2], t)
    assert build(name, task, **options)(x, t).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("name", ALL_PIXELS)
def test_the_least_number_of_a_type_keeps_a_class_out_as_well(name, task, dtype):
    """As transformers mask: 0 for a class that is not the target's."""
    x, t = logits(task, dtype=dtype), hard_target(task)
    t = t.clamp_max(1) if task == "multiclass" else t.index_fill(1, torch.tensor([2]), 0)
    x[:, 2] = torch.finfo(dtype).min
    value, gradient = value_and_gradient(build(name, task), x, t)
    x[:, 2] = -torch.inf
    torch.testing.assert_close((value, gradient), value_and_gradient(build(name, task), x, t))


@pytest.mark.parametrize("name", ALL_PIXELS)
def test_a_wrong_mask_is_seen(name):
    """The target's own class has probability 0: the loss is infinite, as torch's cross-entropy."""
    x = torch.tensor([[[-torch.inf], [1.0]]])
    assert build(name)(x, torch.zeros(1, 1, dtype=torch.long)) == torch.inf


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", ["index", "hard", "soft"])
@pytest.mark.parametrize("name", ["reference", "tiled", pytest.param("numba", marks=pytest.mark.tools)])
def test_the_sums_of_every_implementation_show_a_wrong_mask(name, kind):
    """The sum of the class that is masked although it is a pixel's target is infinite, and no other."""
    x = torch.tensor([[[-torch.inf, 0.5], [1.0, 2.0], [0.3, -torch.inf]]])
    t = torch.tensor([[0, 1]])
    if kind != "index":
        t = one_hot(t, 3).movedim(-1, 1).to(torch.float32 if kind == "soft" else torch.uint8)
    with implementation(name):
        sums = mask_statistics(
            x, t, activation="softmax", gamma=1.5, needs=("cross_entropy_positive", "focal_positive")
        )
    p = 1 / (1 + torch.tensor(-1.5).exp())
    torch.testing.assert_close(sums.cross_entropy_positive, torch.tensor([[torch.inf, -p.log(), 0]]))
    torch.testing.assert_close(sums.focal_positive, torch.tensor([[torch.inf, -p.log() * (1 - p) ** 1.5, 0]]))
