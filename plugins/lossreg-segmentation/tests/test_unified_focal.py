"""The unified focal loss and its two asymmetric parts: formulas, one channel, peers and edges."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import lossreg
from lossreg_segmentation.overlap import FocalTversky
from lossreg_segmentation.pixelwise import Focal
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.unified_focal import AsymmetricFocal, AsymmetricFocalTversky, UnifiedFocal

from . import oracles
from .cases import TASKS, arrays, hard_target, logits, soft_target, target_of, value_and_gradient, without_class

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what MONAI's imports deprecate is not ours to fix
    monai = pytest.importorskip("monai.losses.unified_focal_loss", reason="MONAI is not installed: no parity with it")

pytestmark = pytest.mark.usefixtures("on_reference")

LOSSES = {
    "asymmetric_focal": AsymmetricFocal,
    "asymmetric_focal_tversky": AsymmetricFocalTversky,
    "unified_focal": UnifiedFocal,
}
DEFAULTS = {
    "asymmetric_focal": {"delta": 0.7, "gamma": 2.0},
    "asymmetric_focal_tversky": {"delta": 0.7, "gamma": 0.75, "smooth": 1.0},
    "unified_focal": {"weight": 0.5, "delta": 0.6, "gamma": 0.5, "smooth": 1.0},
}
OWN = {
    "asymmetric_focal": {"delta": 0.8, "gamma": 1.5},
    "asymmetric_focal_tversky": {"delta": 0.8, "gamma": 0.25, "smooth": 0.5},
    "unified_focal": {"weight": 0.3, "delta": 0.8, "gamma": 0.25, "smooth": 0.5},
}
WEIGHTS = [0.5, 2.0, 0.25]
OPTIONS = [{}, {"batch": True}, {"class_weight": WEIGHTS}, {"batch": True, "class_weight": WEIGHTS}]
POLICIES = [{"absent": "ignore"}, {"absent": "zero"}]
SIZES = {"batch": 2, "size": (2, 3)}

each_loss = pytest.mark.parametrize("name", LOSSES)
each_task = pytest.mark.parametrize("task", TASKS)


def focal_of_mask(p, t, delta, gamma):
    """-delta t log p - (1 - delta) (1 - t) p^gamma log(1 - p)."""
    return np.mean(-delta * t * np.log(p) - (1 - delta) * (1 - t) * p**gamma * np.log(1 - p))


def index(p, t, delta, smooth):
    """The modified Tversky index: delta weighs false negatives."""
    return 1 - oracles.tversky(p, t, alpha=1 - delta, beta=delta, smooth=smooth)


def tversky_of_mask(p, t, delta, gamma, smooth):
    """The two classes of the paper's binary form, the background as the complement."""
    raised = (1 - index(p, t, delta, smooth)) ** (1 - gamma)
    return (1 - index(1 - p, 1 - t, delta, smooth) + raised) / 2


def unified_of_mask(p, t, weight, delta, gamma, smooth):
    return weight * focal_of_mask(p, t, delta, gamma) + (1 - weight) * tversky_of_mask(p, t, delta, gamma, smooth)


MASK = {
    "asymmetric_focal": focal_of_mask,
    "asymmetric_focal_tversky": tversky_of_mask,
    "unified_focal": unified_of_mask,
}


def focal_of_classes(p, t, w, weighed, delta, gamma):
    """One pixel after the other; class 0 is the background."""
    total = count = 0.0
    for i in range(p.shape[1]):
        for c in range(len(p)):
            element = -t[c, i] * np.log(p[c, i])
            element *= delta if c > 0 else (1 - delta) * (1 - p[c, i]) ** gamma
            total += w[c] * element
            count += w[c] * t[c, i] if weighed else 1 / len(p)
    return total / count if count else 0.0


def tversky_of_classes(p, t, w, delta, gamma, smooth):
    """The weighted mean over classes."""
    if p.size == 0:
        return 0.0
    values = [(1 - index(p[c], t[c], delta, smooth)) ** (1 - gamma if c else 1) for c in range(len(p))]
    return np.average(values, weights=w)


def of_classes(name, p, t, class_weight=None, weight=0.5, smooth=1.0, **own):
    w = [1.0] * len(p) if class_weight is None else class_weight
    if name == "asymmetric_focal":
        return focal_of_classes(p, t, w, class_weight is not None, **own)
    tversky = tversky_of_classes(p, t, w, smooth=smooth, **own)
    if name == "asymmetric_focal_tversky":
        return tversky
    return weight * focal_of_classes(p, t, w, class_weight is not None, **own) + (1 - weight) * tversky


def expected_values(name, x, t, valid, task, batch=False, **options):
    """(N,), or (1,) with batch=True; x, t (N, C, L), valid (N, L)."""
    if task != "multiclass":
        return oracles.per_example(name, x, t, valid, task, batch=batch, **options)
    if batch:
        x, t = (np.moveaxis(a, 0, 1).reshape(1, a.shape[1], -1) for a in (x, t))
        valid = valid.reshape(1, -1)
    p = oracles.softmax(x, 1)
    return np.array([of_classes(name, p[b][:, v], t[b][:, v], **options) for b, v in enumerate(valid)])


@pytest.fixture(autouse=True)
def oracle(monkeypatch):
    for name, formula in MASK.items():
        monkeypatch.setitem(oracles.MASK, name, formula)


def some_valid():
    """A mask of pixels, the third example without any."""
    valid = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(5)) < 0.6
    valid[2] = False
    return valid


def marked(t, valid):
    """The target with 7 where nothing is valid."""
    return t.masked_fill(~(valid if t.ndim == 3 else valid.unsqueeze(1)), 7)


@pytest.mark.parametrize("ignoring", [False, True], ids=["all", "some ignored"])
@each_task
@each_loss
def test_they_equal_their_formulas_under_every_option(name, task, ignoring):
    """One class absent from the first example; values per example average to the total."""
    x, t = logits(task), without_class(hard_target(task), task)
    valid = some_valid() if ignoring else torch.ones(4, 3, 5, dtype=torch.bool)
    given = marked(t, valid) if ignoring else t
    policies = POLICIES if task != "multiclass" and name != "unified_focal" else []
    for options in OPTIONS + policies:
        if task == "binary" and "class_weight" in options:
            continue
        everything = OWN[name] | options
        expected = expected_values(name, *arrays(x, t), valid.flatten(1).numpy(), task, **everything)
        loss = LOSSES[name](task=task, ignore_index=7 if ignoring else None, **everything)
        output = loss.evaluate(x, given)
        assert output.total.item() == pytest.approx(expected.mean(), rel=1e-10)
        if "batch" in options:
            assert output.per_example is None
        else:
            np.testing.assert_allclose(output.per_example.numpy(), expected, rtol=1e-10, atol=1e-14)


@each_task
@each_loss
def test_defaults_are_those_of_the_authors(name, task):
    x, t = logits(task), hard_target(task)
    expected = expected_values(name, *arrays(x, t), np.ones((4, 15), dtype=bool), task, **DEFAULTS[name])
    assert LOSSES[name](task=task)(x, t).item() == pytest.approx(expected.mean(), rel=1e-10)


@pytest.mark.parametrize("name, key", [(name, key) for name, row in OWN.items() for key in row])
@each_task
def test_every_parameter_changes_the_result(name, key, task):
    x, t = logits(task), hard_target(task)
    assert abs(LOSSES[name](task=task, **{key: OWN[name][key]})(x, t) - LOSSES[name](task=task)(x, t)) > 1e-4


def test_soft_targets_of_the_tversky_part_are_their_formula():
    """Of the background too: sum min(1 - p, 1 - t) follows from the four sums."""
    for task in TASKS:
        x, t = logits(task), soft_target(task)
        name = "asymmetric_focal_tversky"
        expected = expected_values(name, *arrays(x, t), np.ones((4, 15), dtype=bool), task, **OWN[name])
        loss = AsymmetricFocalTversky(task=task, **OWN[name])
        assert loss(x, t).item() == pytest.approx(expected.mean(), rel=1e-10)


def test_literal_values():
    """Four pixels of p = 1/2, one of them in the mask: TP 1/2, FN 1/2, FP 3/2, TN 3/2; delta 3/4, gamma 1/2."""
    x, t = torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([[[[1, 0], [0, 0]]]])
    nats = 0.6931471805599453
    focal = AsymmetricFocal(delta=0.75, gamma=2.0)(x, t).item()
    assert focal == pytest.approx((0.75 + 3 * 0.25 * 0.25) * nats / 4, rel=1e-12)
    # TI = .5 / (.5 + .375 + .375) = .4; of the background 1.5 / (1.5 + .75 * 1.5 + .25 * .5) = 6/11
    tversky = AsymmetricFocalTversky(delta=0.75, gamma=0.5, smooth=0.0)(x, t).item()
    assert tversky == pytest.approx((0.6**0.5 + 5 / 11) / 2, rel=1e-12)


def test_the_unified_loss_weighs_its_parts():
    """Components are before their weights, and are the two losses with delta and gamma in common."""
    for task in TASKS:
        x, t = logits(task), hard_target(task)
        total, components = UnifiedFocal(task=task, weight=0.3, delta=0.8, gamma=0.25).evaluate(x, t)
        focal = AsymmetricFocal(task=task, delta=0.8, gamma=0.25)(x, t)
        tversky = AsymmetricFocalTversky(task=task, delta=0.8, gamma=0.25)(x, t)
        assert components["asymmetric_focal"].item() == pytest.approx(focal.item(), rel=1e-12)
        assert components["asymmetric_focal_tversky"].item() == pytest.approx(tversky.item(), rel=1e-12)
        assert total.item() == pytest.approx(0.3 * focal.item() + 0.7 * tversky.item(), rel=1e-12)


def test_focal_and_focal_tversky_are_the_symmetric_relatives():
    """delta 1/2 and gamma 0 are half of cross-entropy; without a background, focal Tversky."""
    x, t = logits("binary"), hard_target("binary")
    half = Focal(alpha=0.5, gamma=0.0)(x, t).item()
    assert AsymmetricFocal(delta=0.5, gamma=0.0)(x, t).item() == pytest.approx(half, rel=1e-12)
    x, t = logits("multiclass"), hard_target("multiclass")
    raised = FocalTversky(alpha=0.3, beta=0.7, gamma=0.25, class_weight=[0.0, 1.0, 1.0])(x, t).item()
    loss = AsymmetricFocalTversky(delta=0.7, gamma=0.75, class_weight=[0.0, 1.0, 1.0])
    assert loss(x, t).item() == pytest.approx(raised, rel=1e-12)


def test_only_the_background_is_suppressed():
    """gamma moves what a pixel of the background costs, and never what a pixel of the mask does."""
    x = torch.full((1, 1, 2, 2), 1.5)
    low, high = AsymmetricFocal(gamma=0.5), AsymmetricFocal(gamma=4.0)
    assert low(x, torch.ones_like(x)) == high(x, torch.ones_like(x))
    assert low(x, torch.zeros_like(x)) > high(x, torch.zeros_like(x)) + 0.05
    x, t = torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
    assert low(x, t) > high(x, t) + 0.05
    for rare in (1, 2):
        assert low(x, t + rare) == high(x, t + rare)


@pytest.mark.parametrize("kind", ["hard", "soft"])
@each_task
@each_loss
def test_gradients_equal_finite_differences(name, task, kind):
    """With an ignored pixel and, in the first example, an absent class."""
    x, t = logits(task, **SIZES).requires_grad_(), without_class(target_of(task, kind, **SIZES), task)
    t[1, ..., 0, 0] = 7
    for options in ({}, {"batch": True}):
        loss = LOSSES[name](task=task, ignore_index=7, **OWN[name], **options)
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, t), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@each_task
@each_loss
def test_any_finite_logit_has_a_finite_value_and_gradient(name, task, dtype):
    """(1 - TI)^(1/4) has an infinite slope at a perfect mask, (1 - p_t)^(1/4) one at a certain pixel."""
    signs = logits(task).sign()
    top = 3 if task == "multiclass" else 2
    targets = [hard_target(task), *(torch.full_like(hard_target(task), value) for value in range(top))]
    losses = [LOSSES[name](task=task), LOSSES[name](task=task, gamma=0.25)]
    losses += [LOSSES[name](task=task, smooth=0.0)] if name != "asymmetric_focal" else []
    for t in (*targets, soft_target(task).float()):
        masks = torch.nn.functional.one_hot(t, 3).movedim(-1, 1) if t.ndim < signs.ndim else t
        for pattern in (signs, torch.ones_like(signs), -torch.ones_like(signs), 0 * signs, masks * 2 - 1):
            for loss in losses:
                value, gradient = value_and_gradient(loss, (pattern * 1e4).to(dtype), t)
                assert value.isfinite()
                assert value >= 0
                assert gradient.isfinite().all()
                assert gradient.dtype == dtype


@each_task
@each_loss
def test_all_ignored_is_zero_and_connected(name, task):
    x, t = torch.full_like(logits(task), float("nan")), torch.full_like(hard_target(task), 255)
    value, gradient = value_and_gradient(LOSSES[name](task=task, ignore_index=255), x, t)
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("kind", ["hard", "soft"])
@each_task
@each_loss
def test_nan_under_ignored_pixels_leaves_value_and_gradient_alone(name, task, kind):
    x, t = logits(task), marked(target_of(task, kind), some_valid())
    everywhere = (~some_valid()).unsqueeze(1).expand_as(x)
    loss = LOSSES[name](task=task, ignore_index=7)
    clean, expected = value_and_gradient(loss, x, t)
    value, gradient = value_and_gradient(loss, x.masked_fill(everywhere, float("nan")), t)
    assert torch.equal(value, clean)
    assert torch.equal(gradient, expected)
    assert (gradient[everywhere] == 0).all()


def test_one_channel_has_a_gradient():
    """A peer takes logits of one channel, clamps them to [0, 1] as probabilities, and says 0 for each gradient."""
    t = torch.zeros(1, 1, 8, 8)
    t[..., 4:] = 1
    for x in ((t * 2 - 1) * 3, (1 - 2 * t) * 3):
        _, theirs = value_and_gradient(monai.AsymmetricUnifiedFocalLoss(), x, t)
        assert theirs.abs().max() == 0
        for loss in (AsymmetricFocal(), AsymmetricFocalTversky(), UnifiedFocal()):
            _, gradient = value_and_gradient(loss, x, t)
            assert (torch.where(t > 0, -gradient, gradient) > 0).all()


def test_a_background_that_rounding_leaves_less_than_nothing_of():
    """float32 sums of a large mask may make it a millionth of a pixel below 0, which nothing else outweighs here."""
    predicted, actual, valid = (torch.full((1, 1), value) for value in (4.000001, 3.0, 4.0))
    sums = MaskStatistics(intersection=actual, predicted=predicted, actual=actual, valid=valid)
    terms = AsymmetricFocalTversky(delta=0.0, smooth=0.0).formula(sums, "binary")
    assert 0 <= terms["asymmetric_focal_tversky"].values <= 1


def test_large_half_precision_images():
    """262144 pixels of the mask are above the 65504 of float16, and bfloat16 stops counting at 256."""
    for dtype in (torch.float16, torch.bfloat16):
        x, t = torch.full((1, 1, 512, 512), 3.0, dtype=dtype), torch.ones(1, 1, 512, 512)
        for loss in (AsymmetricFocal(), AsymmetricFocalTversky(), UnifiedFocal()):
            value, gradient = value_and_gradient(loss, x, t)
            assert value.item() == pytest.approx(loss(x.double(), t).item(), rel=1e-3)
            assert gradient.isfinite().all()


@pytest.mark.parametrize("delta, gamma", [(0.7, 2.0), (0.6, 0.5)])
def test_asymmetric_focal_is_twice_that_of_monai(delta, gamma):
    """Of two classes. It takes probabilities, and its mean over pixels and classes; the authors sum the classes."""
    x, t = logits("multiclass")[:, :2], hard_target("multiclass") % 2
    one_hot = torch.nn.functional.one_hot(t, 2).movedim(-1, 1)
    theirs = monai.AsymmetricFocalLoss(delta=delta, gamma=gamma)(x.softmax(1), one_hot)
    torch.testing.assert_close(AsymmetricFocal(delta=delta, gamma=gamma)(x, t), 2 * theirs, rtol=1e-5, atol=0)
    # Two channels whose logits are 0 and x have the softmax of one channel's sigmoid.
    x, t = logits("binary"), hard_target("binary")
    theirs = monai.AsymmetricFocalLoss(delta=delta, gamma=gamma)(
        torch.cat([-x, x], 1).sigmoid(), torch.cat([1 - t, t], 1)
    )
    torch.testing.assert_close(AsymmetricFocal(delta=delta, gamma=gamma)(x, t), 2 * theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("delta, gamma", [(0.7, 0.75), (0.6, 0.5)])
def test_asymmetric_focal_tversky_equals_that_of_monai(delta, gamma):
    """Of two classes, given as probabilities; its epsilon of 1e-7 is our smooth."""
    theirs = monai.AsymmetricFocalTverskyLoss(delta=delta, gamma=gamma)
    loss = AsymmetricFocalTversky(delta=delta, gamma=gamma, smooth=1e-7)
    x, t = logits("multiclass")[:, :2], hard_target("multiclass") % 2
    expected = theirs(x.softmax(1), torch.nn.functional.one_hot(t, 2).movedim(-1, 1))
    torch.testing.assert_close(loss(x, t), expected, rtol=1e-5, atol=0)
    x, t = logits("binary"), hard_target("binary")
    expected = theirs(torch.cat([-x, x], 1).sigmoid(), torch.cat([1 - t, t], 1))
    torch.testing.assert_close(loss(x, t), expected, rtol=1e-5, atol=0)


def test_every_rare_class_counts():
    """A peer reads channels 0 and 1 of three and drops the third."""
    x, t = logits("multiclass"), hard_target("multiclass")
    one_hot = torch.nn.functional.one_hot(t, 3).movedim(-1, 1)
    assert monai.AsymmetricFocalLoss()(x.softmax(1), one_hot * torch.tensor([1, 1, 0]).view(3, 1, 1)) == (
        monai.AsymmetricFocalLoss()(x.softmax(1), one_hot)
    )
    for loss in (AsymmetricFocal(), AsymmetricFocalTversky(), UnifiedFocal()):
        assert abs(loss(x, t) - loss(x, t.masked_fill(t == 2, 0))) > 1e-3


@pytest.mark.parametrize("name", ["asymmetric_focal", "unified_focal"])
def test_absent_has_no_meaning_for_classes_of_the_focal_part(name):
    with pytest.raises(lossreg.InputError, match=r"absent='zero' has no meaning for softmax .*; leave absent='score'"):
        LOSSES[name](absent="zero")(logits("multiclass"), hard_target("multiclass"))


def test_absent_is_the_value_of_each_part_for_an_empty_mask():
    x = torch.zeros(1, 1, 4, 4)
    components = UnifiedFocal(absent="false_positives").evaluate(x, x).components
    assert [value.item() for value in components.values()] == [0.5, 0.5]
    assert AsymmetricFocalTversky(absent="zero")(logits("multiclass"), 0 * hard_target("multiclass")) < 0.5
