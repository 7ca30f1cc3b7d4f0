"""The unified focal loss and its two asymmetric parts: values by hand, one channel, peers and edges."""

from __future__ import annotations

import warnings

import pytest
import torch

from lossreg_segmentation.overlap import FocalTversky
from lossreg_segmentation.pixelwise import Focal
from lossreg_segmentation.statistics import MaskStatistics
from lossreg_segmentation.unified_focal import AsymmetricFocal, AsymmetricFocalTversky, UnifiedFocal

from .cases import TASKS, hard_target, logits, value_and_gradient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecation warnings from MONAI's own imports
    monai = pytest.importorskip("monai.losses.unified_focal_loss", reason="MONAI is not installed: no parity with it")

pytestmark = pytest.mark.usefixtures("on_reference")


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
    """Components are before their weights, and equal the two losses with common delta and gamma."""
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
    """gamma changes the cost of a background pixel, and never the cost of a pixel of the mask."""
    x = torch.full((1, 1, 2, 2), 1.5)
    low, high = AsymmetricFocal(gamma=0.5), AsymmetricFocal(gamma=4.0)
    assert low(x, torch.ones_like(x)) == high(x, torch.ones_like(x))
    assert low(x, torch.zeros_like(x)) > high(x, torch.zeros_like(x)) + 0.05
    x, t = torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
    assert low(x, t) > high(x, t) + 0.05
    for rare in (1, 2):
        assert low(x, t + rare) == high(x, t + rare)


def test_one_channel_has_a_gradient():
    """A peer clamps logits of one channel to [0, 1] as probabilities, so that each gradient is 0."""
    t = torch.zeros(1, 1, 8, 8)
    t[..., 4:] = 1
    for x in ((t * 2 - 1) * 3, (1 - 2 * t) * 3):
        _, theirs = value_and_gradient(monai.AsymmetricUnifiedFocalLoss(), x, t)
        assert theirs.abs().max() == 0
        for loss in (AsymmetricFocal(), AsymmetricFocalTversky(), UnifiedFocal()):
            _, gradient = value_and_gradient(loss, x, t)
            assert (torch.where(t > 0, -gradient, gradient) > 0).all()


def test_a_background_that_rounding_leaves_less_than_nothing_of():
    """float32 sums of a large mask may make it a millionth of a pixel below 0, which is the largest term here."""
    predicted, actual, valid = (torch.full((1, 1), value) for value in (4.000001, 3.0, 4.0))
    sums = MaskStatistics(intersection=actual, predicted=predicted, actual=actual, valid=valid)
    terms = AsymmetricFocalTversky(delta=0.0, smooth=0.0).formula(sums, "binary")
    assert 0 <= terms["asymmetric_focal_tversky"].values <= 1


@pytest.mark.parametrize("delta, gamma", [(0.7, 2.0), (0.6, 0.5)])
def test_asymmetric_focal_is_twice_that_of_monai(delta, gamma):
    """With two classes. MONAI takes probabilities and a mean over pixels and classes; the authors sum the classes."""
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
    """With two classes, given as probabilities; its epsilon of 1e-7 is our smooth."""
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


def test_absent_is_the_value_of_each_part_for_an_empty_mask():
    x = torch.zeros(1, 1, 4, 4)
    components = UnifiedFocal(absent="false_positives").evaluate(x, x).components
    assert [value.item() for value in components.values()] == [0.5, 0.5]
    assert AsymmetricFocalTversky(absent="zero")(logits("multiclass"), 0 * hard_target("multiclass")) < 0.5
