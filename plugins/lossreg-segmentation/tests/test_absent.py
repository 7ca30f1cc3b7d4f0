"""Masks without target pixels: four policies, each with its value and its gradient."""

from __future__ import annotations

import pytest
import torch

from .cases import OVERLAP, build, hard_target, logits, value_and_gradient

pytestmark = pytest.mark.usefixtures("on_reference")

EMPTY = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
HALF = torch.zeros(1, 1, 64, 64, dtype=torch.float64)

# 4096 pixels of p = 1/2 and no target pixel, smooth 1: P = 2048, TP = T = 0.
SCORES = {
    "dice": 2048 / 2049,
    "jaccard": 2048 / 2049,
    "tversky": 1024 / 1025,
    "focal_tversky": (1024 / 1025) ** 0.75,
    "bce": 0.6931471805599453,  # log 2
    "cross_entropy": 0.6931471805599453,
    "focal": 0.12996509635498975,  # 0.75 * 0.25 * log 2
    "bce_dice_focal": 0.4 * 0.6931471805599453 + 0.4 * 2048 / 2049 + 0.2 * 0.12996509635498975,
}
# d/dx of one pixel: p' = 1/4 of d/dP for the ratios, p / 4096 for cross-entropy.
GRADIENTS = {
    "dice": 0.25 / 2049**2,
    "jaccard": 0.25 / 2049**2,
    "tversky": 0.125 / 1025**2,
    "bce": 0.5 / 4096,
    "cross_entropy": 0.5 / 4096,
}


@pytest.mark.parametrize("name", SCORES)
def test_score_is_what_the_formula_gives(name):
    value, gradient = value_and_gradient(build(name, absent="score"), HALF, EMPTY)
    assert value.item() == pytest.approx(SCORES[name], rel=1e-9)
    if name in GRADIENTS:
        assert gradient[0, 0, 0, 0].item() == pytest.approx(GRADIENTS[name], rel=1e-9)
        assert gradient.max() == gradient.min()


@pytest.mark.parametrize("absent", ["ignore", "zero"])
@pytest.mark.parametrize("name", SCORES)
def test_ignore_and_zero_are_zero_with_a_zero_gradient(name, absent):
    value, gradient = value_and_gradient(build(name, absent=absent), HALF, EMPTY)
    assert value == 0
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("name", SCORES)
def test_false_positives_is_the_mean_of_p_with_a_real_gradient(name):
    """p = 1/2 everywhere: 0.5, and p'/4096 for each pixel, while the overlap score gives about 6e-8."""
    value, gradient = value_and_gradient(build(name, absent="false_positives"), HALF, EMPTY)
    assert value.item() == pytest.approx(0.5, rel=1e-12)
    assert gradient[0, 0, 5, 6].item() == pytest.approx(0.25 / 4096, rel=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_only_masks_without_pixels_are_touched(name):
    """Every policy is the same where each class has its pixels."""
    x, t = logits("multilabel"), hard_target("multilabel")
    score = build(name, "multilabel")(x, t).item()
    for absent in ("ignore", "zero", "false_positives"):
        assert build(name, "multilabel", absent=absent)(x, t).item() == pytest.approx(score, rel=1e-14)


@pytest.mark.parametrize("name", OVERLAP)
def test_ignore_takes_the_class_out_of_the_mean_and_zero_keeps_it(name):
    """Three classes, one absent: the mean of two, and two thirds of that mean."""
    x, t = logits("multilabel"), hard_target("multilabel")
    t[:, 1] = 0
    present = build(name, "multilabel")(x[:, [0, 2]], t[:, [0, 2]]).item()
    assert build(name, "multilabel", absent="ignore")(x, t).item() == pytest.approx(present, rel=1e-12)
    assert build(name, "multilabel", absent="zero")(x, t).item() == pytest.approx(present * 2 / 3, rel=1e-12)


@pytest.mark.parametrize("name", OVERLAP)
def test_ignore_takes_an_absent_class_out_beside_ignored_pixels_too(name):
    """Of three classes one is absent at the valid pixels and one is fully ignored: the value of the third."""
    x, t = logits("multilabel"), hard_target("multilabel")
    t[:, 0, 0], t[:, 1], t[:, 1, 0], t[:, 2] = 9, 0, 9, 9
    alone = build(name, "binary", ignore_index=9)(x[:, :1], t[:, :1]).item()
    assert build(name, "multilabel", absent="ignore", ignore_index=9)(x, t).item() == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("name", OVERLAP)
def test_a_class_is_absent_from_its_example_or_from_the_batch(name):
    """Pixels of class 1 in the second example make it present under batch=True alone."""
    x, t = logits("multilabel", batch=2), hard_target("multilabel", batch=2)
    t[0, 1] = 0
    score = build(name, "multilabel", batch=True)(x, t)
    assert build(name, "multilabel", batch=True, absent="zero")(x, t) == score
    assert build(name, "multilabel", absent="zero")(x, t) < build(name, "multilabel")(x, t)


@pytest.mark.parametrize("name", OVERLAP)
def test_an_example_without_any_class_is_zero_and_stays_in_the_mean_over_examples(name):
    """absent="ignore" with nothing present: half of the other example."""
    x, t = logits("multilabel", batch=2), hard_target("multilabel", batch=2)
    t[1] = 0
    loss = build(name, "multilabel", absent="ignore")
    assert loss(x, t).item() == pytest.approx(loss(x[:1], t[:1]).item() / 2, rel=1e-12)


def test_ignored_pixels_are_no_false_positives():
    """Nine of the pixels are ignored: p is averaged over the others, NaN under the mark or not."""
    x, t = HALF.clone(), EMPTY.clone()
    x[0, 0, 0, :9], t[0, 0, 0, :9] = float("nan"), 255
    value = build("dice", absent="false_positives", ignore_index=255)(x, t)
    assert value.item() == pytest.approx(0.5, rel=1e-12)
