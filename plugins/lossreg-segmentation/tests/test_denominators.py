"""Means over pixels divide by the pixels' weight, however little it is."""

import pytest
import torch

import lossreg
from lossreg_segmentation.segmentation_loss import apply_absent, share
from lossreg_segmentation.statistics import MaskStatistics, mask_statistics

MASKS = ["bce", "cross_entropy", "focal", "poly1", "bce_dice_focal", "asymmetric_focal", "mcc"]
CLASSES = ["cross_entropy", "focal", "poly1", "asymmetric_focal"]


def sums_of(loss, input, target, activation):
    needs = loss.needs - {"cross_entropy_negative", "focal_negative"} if activation == "softmax" else loss.needs
    return mask_statistics(input, target, activation=activation, needs=needs, gamma=loss.gamma)


def scaled(statistics, factor):
    return MaskStatistics(*(None if field is None else field * factor for field in statistics))


@pytest.mark.parametrize("name", MASKS)
def test_sums_of_masks_have_any_unit(name):
    """Sums in units of 1000 pixels, as of weights 0.001, give the same loss."""
    torch.manual_seed(0)
    loss = lossreg.build({"name": name, "params": {"smooth": 0.0} if name in ("mcc", "bce_dice_focal") else {}})
    input, target = torch.randn(2, 2, 5, 5, dtype=torch.float64), (torch.rand(2, 2, 5, 5) > 0.6).double()
    statistics = sums_of(loss, input, target, "sigmoid")
    for key, term in loss.formula(scaled(statistics, 1e-3), "multilabel").items():
        torch.testing.assert_close(term.values, loss.formula(statistics, "multilabel")[key].values)


@pytest.mark.parametrize("name", CLASSES)
def test_sums_of_classes_have_any_unit(name):
    """A softmax loss divides by the weight of its pixels, which is less than 1 here."""
    torch.manual_seed(0)
    loss = lossreg.build(name)
    input, target = torch.randn(2, 3, 5, 5, dtype=torch.float64), torch.randint(3, (2, 5, 5))
    statistics = sums_of(loss, input, target, "softmax")
    (small,) = loss.formula(scaled(statistics, 1e-3), "multiclass").values()
    (whole,) = loss.formula(statistics, "multiclass").values()
    torch.testing.assert_close(small.values, whole.values)


def test_mean_of_p_of_an_empty_mask_has_any_unit():
    """A mean probability of 0.25 stays 0.25 where its pixels weigh 0.04 in all."""
    predicted, valid = torch.tensor([[0.01]]), torch.tensor([[0.04]])
    statistics = MaskStatistics(predicted=predicted, actual=torch.zeros(1, 1), valid=valid)
    values, _ = apply_absent(torch.ones(1, 1), statistics, "false_positives", ignoring=False)
    torch.testing.assert_close(values, torch.tensor([[0.25]]))


def test_share_without_pixels_is_zero():
    """Without pixels, the share of a sum of 0 is 0 and not NaN."""
    found = share(torch.tensor([0.0, 3.0, 0.5]), torch.tensor([0.0, 2.0, 0.25]))
    assert found.tolist() == [0.0, 1.5, 2.0]
