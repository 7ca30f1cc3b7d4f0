"""Poly-1 cross-entropy: values by hand, soft targets, and special cases."""

from __future__ import annotations

import pytest
import torch

from lossreg_segmentation.pixelwise import CrossEntropy
from lossreg_segmentation.poly import Poly1

from .cases import TASKS, hard_target, logits, soft_target, target_of

pytestmark = pytest.mark.usefixtures("on_reference")


each_task = pytest.mark.parametrize("task", TASKS)
each_kind = pytest.mark.parametrize("kind", ["hard", "soft"])


def test_literal_values():
    """p_t = 1/2 of masks and 1/4 of four classes: log 2 + 1/2, log 4 + 3/4."""
    x, t = torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([[[[1, 0], [0, 0]]]])
    assert Poly1()(x, t).item() == pytest.approx(0.6931471805599453 + 0.5, rel=1e-12)
    x, t = torch.zeros(1, 4, 2, 2, dtype=torch.float64), torch.tensor([[[3, 0], [2, 1]]])
    assert Poly1()(x, t).item() == pytest.approx(1.3862943611198906 + 0.75, rel=1e-12)
    assert Poly1(epsilon=-1.0)(x, t).item() == pytest.approx(1.3862943611198906 - 0.75, rel=1e-12)


def test_softmax_equals_the_paper_on_class_indices():
    """-log p_t + epsilon (1 - p_t) with torch's cross-entropy and gathered probabilities."""
    x, t = logits("multiclass"), hard_target("multiclass")
    p_t = x.softmax(1).gather(1, t.unsqueeze(1)).squeeze(1)
    expected = (torch.nn.functional.cross_entropy(x, t, reduction="none") + 2 * (1 - p_t)).mean()
    torch.testing.assert_close(Poly1(epsilon=2.0)(x, t), expected, rtol=1e-12, atol=0)


def test_half_the_l1_distance_of_classes_is_what_they_lack():
    """Soft classes: sum max(t - p, 0) = sum |p - t| / 2."""
    x, t = logits("multiclass"), soft_target("multiclass")
    distance = (x.softmax(1) - t).abs().sum(1).mean() / 2
    found = Poly1(task="multiclass", epsilon=1.0)(x, t) - CrossEntropy(task="multiclass")(x, t)
    torch.testing.assert_close(found, distance, rtol=1e-10, atol=0)


@each_kind
@each_task
def test_epsilon_zero_is_cross_entropy_and_the_default_is_one(task, kind):
    x, t = logits(task), target_of(task, kind)
    plain = CrossEntropy(task=task)(x, t).item()
    assert Poly1(task=task, epsilon=0.0)(x, t).item() == pytest.approx(plain, rel=1e-12)
    assert Poly1(task=task)(x, t).item() == Poly1(task=task, epsilon=1.0)(x, t).item() > plain + 0.05


@each_task
def test_it_is_least_where_prediction_and_soft_target_agree(task):
    t = soft_target(task)
    exact = t.log() if task == "multiclass" else torch.logit(t)
    loss = Poly1(task=task)
    assert loss(exact, t) < min(loss(exact + 0.1 * logits(task, seed=seed), t) for seed in range(5))
