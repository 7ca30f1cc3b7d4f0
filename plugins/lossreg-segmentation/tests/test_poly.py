"""Poly-1 cross-entropy: its formula, soft targets, and what it contains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossreg
from lossreg_segmentation.pixelwise import CrossEntropy
from lossreg_segmentation.poly import Poly1

from . import oracles
from .cases import TASKS, arrays, hard_target, logits, soft_target, target_of, value_and_gradient, without_class

pytestmark = pytest.mark.usefixtures("on_reference")

WEIGHTS = [0.5, 2.0, 0.25]
OPTIONS = [{}, {"batch": True}, {"class_weight": WEIGHTS}, {"batch": True, "class_weight": WEIGHTS}]
POLICIES = [{"absent": "ignore"}, {"absent": "zero"}, {"absent": "false_positives"}]
SIZES = {"batch": 2, "size": (2, 3)}

each_task = pytest.mark.parametrize("task", TASKS)
each_kind = pytest.mark.parametrize("kind", ["hard", "soft"])


def of_mask(p, t, epsilon=1.0):
    return oracles.bce(p, t) + epsilon * np.abs(p - t).mean()


def of_classes(p, t, epsilon, class_weight=None):
    """Pixel by pixel: what a class of a pixel lacks is max(t - p, 0), which is 1 - p_t for a hard one."""
    total = count = 0.0
    for i in range(p.shape[1]):
        for c in range(len(p)):
            w = 1.0 if class_weight is None else class_weight[c]
            total += w * (-t[c, i] * np.log(p[c, i]) + epsilon * max(t[c, i] - p[c, i], 0))
            count += 1 / len(p) if class_weight is None else w * t[c, i]
    return total / count if count else 0.0


@pytest.fixture(autouse=True)
def oracle(monkeypatch):
    monkeypatch.setitem(oracles.MASK, "poly1", of_mask)


def expected_values(x, t, valid, task, batch=False, **options):
    """(N,), or (1,) with batch=True; x, t (N, C, L), valid (N, L)."""
    if task != "multiclass":
        return oracles.per_example("poly1", x, t, valid, task, batch=batch, **options)
    if batch:
        x, t = (np.moveaxis(a, 0, 1).reshape(1, a.shape[1], -1) for a in (x, t))
        valid = valid.reshape(1, -1)
    p = oracles.softmax(x, 1)
    return np.array([of_classes(p[b][:, v], t[b][:, v], **options) for b, v in enumerate(valid)])


def some_valid():
    """A mask of pixels, the third example without any."""
    valid = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(5)) < 0.6
    valid[2] = False
    return valid


def marked(t, valid):
    """The target with 7 where nothing is valid."""
    return t.masked_fill(~(valid if t.ndim == 3 else valid.unsqueeze(1)), 7)


@pytest.mark.parametrize("epsilon", [1.0, -1.0, 2.5])
@pytest.mark.parametrize("ignoring", [False, True], ids=["all", "some ignored"])
@each_kind
@each_task
def test_it_equals_its_formula_under_every_option(task, kind, ignoring, epsilon):
    """One class absent from the first example; values per example average to the total."""
    x, t = logits(task), without_class(target_of(task, kind), task)
    valid = some_valid() if ignoring else torch.ones(4, 3, 5, dtype=torch.bool)
    given = marked(t, valid) if ignoring else t
    for options in OPTIONS + (POLICIES if task != "multiclass" else []):
        if task == "binary" and "class_weight" in options:
            continue
        expected = expected_values(*arrays(x, t), valid.flatten(1).numpy(), task, epsilon=epsilon, **options)
        loss = Poly1(task=task, epsilon=epsilon, ignore_index=7 if ignoring else None, **options)
        output = loss.evaluate(x, given)
        assert output.total.item() == pytest.approx(expected.mean(), rel=1e-10)
        if "batch" in options:
            assert output.per_example is None
        else:
            np.testing.assert_allclose(output.per_example.numpy(), expected, rtol=1e-10, atol=1e-14)


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


@each_kind
@each_task
def test_gradients_equal_finite_differences(task, kind):
    x, t = logits(task, **SIZES).requires_grad_(), target_of(task, kind, **SIZES)
    t[1, ..., 0, 0] = 7
    loss = Poly1(task=task, ignore_index=7, epsilon=-0.5)
    assert torch.autograd.gradcheck(lambda x: loss(x, t), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@each_task
def test_any_finite_logit_has_a_finite_value_and_gradient(task, dtype):
    """epsilon -1 cancels the first power, and a loss that is nearly 0 must not fall below."""
    signs = logits(task).sign()
    top = 3 if task == "multiclass" else 2
    targets = [hard_target(task), *(torch.full_like(hard_target(task), value) for value in range(top))]
    for t in (*targets, soft_target(task).float()):
        for pattern in (signs, torch.ones_like(signs), -torch.ones_like(signs), 0 * signs):
            for epsilon in (1.0, -1.0):
                loss = Poly1(task=task, epsilon=epsilon)
                value, gradient = value_and_gradient(loss, (pattern * 1e4).to(dtype), t)
                assert value.isfinite()
                assert value >= 0
                assert gradient.isfinite().all()
                assert gradient.dtype == dtype


@each_task
def test_all_ignored_is_zero_and_connected(task):
    x, t = torch.full_like(logits(task), float("nan")), torch.full_like(hard_target(task), 255)
    value, gradient = value_and_gradient(Poly1(task=task, ignore_index=255), x, t)
    assert value == 0
    assert (gradient == 0).all()


@each_kind
@each_task
def test_nan_under_ignored_pixels_leaves_value_and_gradient_alone(task, kind):
    x, t = logits(task), marked(target_of(task, kind), some_valid())
    everywhere = (~some_valid()).unsqueeze(1).expand_as(x)
    loss = Poly1(task=task, ignore_index=7)
    clean, expected = value_and_gradient(loss, x, t)
    value, gradient = value_and_gradient(loss, x.masked_fill(everywhere, float("nan")), t)
    assert torch.equal(value, clean)
    assert torch.equal(gradient, expected)
    assert (gradient[everywhere] == 0).all()


def test_absent_has_no_meaning_for_classes():
    with pytest.raises(lossreg.InputError, match=r"absent='zero' has no meaning for softmax Poly1: .*"):
        Poly1(absent="zero")(logits("multiclass"), hard_target("multiclass"))
