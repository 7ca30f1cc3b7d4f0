"""batch=True of losses over pixels: as if the batch were one large image, and as the peers that have nothing else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import lossreg
from lossreg_segmentation.skeleton import soft_skeleton

from .cases import build, hard_target, logits, marked, some_valid, value_and_gradient

RANKED = ["topk", "ohem_cross_entropy", "lovasz_softmax"]


def batch():
    """Return logits and class indices of four images, with ignored pixels and one image without any other."""
    x = logits("multiclass")
    return x, marked(hard_target("multiclass"), some_valid(), 255)


def assert_equal(loss, x, t, expected, gradient):
    found, slope = value_and_gradient(loss, x, t)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, gradient, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("percent", [3, 10, 50])
def test_topk_is_that_of_nnunet(percent):
    """torch.topk of the unreduced cross-entropy of the batch, int(n k / 100) of its n pixels."""
    x, t = logits("multiclass", size=(10, 10)), hard_target("multiclass", size=(10, 10))

    def peer(y, target):
        costs = F.cross_entropy(y, target, reduction="none").flatten()
        return costs.topk(int(costs.numel() * percent / 100)).values.mean()

    assert_equal(build("topk", k=percent / 100, batch=True), x, t, *value_and_gradient(peer, x, t))


@pytest.mark.parametrize("threshold", [0.2, 0.7])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_ohem_is_that_of_mmseg(threshold, share):
    """The valid pixels of the batch whose p is below the threshold, or below the p of the first one that is spare."""
    x, t = batch()

    def peer(y, target):
        valid = target != 255
        costs = F.cross_entropy(y, target, ignore_index=255, reduction="none")[valid]
        p = y.softmax(1).gather(1, target.masked_fill(~valid, 0).unsqueeze(1)).squeeze(1)[valid]
        limit = max(p.sort().values[int(share * p.numel())].item(), threshold)
        return costs[p < limit].mean()

    loss = build("ohem_cross_entropy", threshold=threshold, min_share=share, batch=True, ignore_index=255)
    assert_equal(loss, x, t, *value_and_gradient(peer, x, t))


@pytest.mark.parametrize(
    "name, options",
    [
        ("topk", {}),
        ("topk", {"class_weight": [0.5, 2.0, 1.0]}),
        ("ohem_cross_entropy", {"background": False}),
        ("wasserstein_dice", {}),
        ("wasserstein_dice", {"weighting": "GDL"}),
    ],
    ids=str,
)
def test_the_batch_is_one_large_image(name, options):
    """Four images, one above the other, each pixel with a weight of its own."""
    x, t = batch()
    weight = logits("binary", seed=3).sigmoid()
    image = x.movedim(0, 1).flatten(1, 2)[None], t.flatten(0, 1)[None]
    rows = weight.movedim(0, 1).flatten(1, 2)[None]
    one = build(name, "multiclass", ignore_index=255, **options)(*image, weight=rows)
    whole = build(name, "multiclass", ignore_index=255, batch=True, **options)
    torch.testing.assert_close(whole(x, t, weight=weight), one, rtol=1e-12, atol=0)
    assert (build(name, "multiclass", ignore_index=255, **options)(x, t, weight=weight) - one).abs() > 1e-3


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_cldice_adds_the_centre_lines_of_the_batch(smooth):
    """By its formula, over sums of skeletons that each image has for itself."""
    x, t = logits("multilabel", size=(6, 7)), hard_target("multilabel", size=(6, 7)).double()
    p = x.sigmoid()
    lines, true = soft_skeleton(p, 2), soft_skeleton(t, 2)

    def over_batch(values):
        return values.sum((0, 2, 3)) + smooth

    precision = over_batch(lines * t) / over_batch(lines)
    sensitivity = over_batch(true * p) / over_batch(true)
    expected = (1 - 2 * precision * sensitivity / (precision + sensitivity)).mean()
    found = build("cldice", "multilabel", iterations=2, smooth=smooth, batch=True)(x, t)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", RANKED)
def test_ranks_do_not_sort_the_pixels_of_each_other(name):
    """The two ways out that the message names are both built."""
    with pytest.raises(lossreg.InvalidConfigError) as caught:
        build(name, batch=True, distributed="global")
    assert "no sum over ranks sorts those of all; leave out batch=True for the mean over the examples" in str(
        caught.value
    )
    build(name, distributed="global")
    build(name, batch=True)


@pytest.mark.parametrize("name", [*RANKED, "cldice", "wasserstein_dice"])
def test_the_whole_batch_has_one_value(name):
    """And therefore none per example."""
    x, t = batch()
    output = build(name, "multiclass", batch=True, ignore_index=255).evaluate(x, t)
    assert output.per_example is None
    with pytest.raises(lossreg.InputError, match="terms of the whole batch"):
        build(name, "multiclass", batch=True, ignore_index=255, reduction="none")(x, t)
