"""A loss per region of an image, against a loop over the regions."""

from __future__ import annotations

import math
import re

import pytest
import torch
import torch.distributed as dist

import lossreg
from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg_segmentation.statistics import implementation

from .cases import value_and_gradient

IMPLEMENTATIONS = ("reference", "tiled")
# The formulas of one mask whose sums a region has, with parameters that are no defaults.
OVER_SUMS = {
    "bce": {"pos_weight": 3.0},
    "cross_entropy": {"label_smoothing": 0.2},
    "focal": {"alpha": 0.75, "gamma": 1.5},
    "poly1": {"epsilon": 2.5},
    "dice": {"smooth": 0.5},
    "squared_dice": {"smooth": 0.5},
    "log_cosh_dice": {"smooth": 0.5},
    "jaccard": {"smooth": 0.5},
    "tversky": {"alpha": 0.25, "beta": 2.0, "smooth": 0.5},
    "focal_tversky": {"alpha": 0.25, "gamma": 1.5, "smooth": 0.5},
    "mcc": {"smooth": 2.0},
    "bce_dice_focal": {"dice_weight": 2.0},
    "unified_focal": {"weight": 0.3},
}
DICE = {"name": "dice", "params": {"smooth": 0.5}}


def per_region(loss, **params):
    return lossreg.build({"name": "per_region", "params": {"loss": loss, "max_regions": 5, **params}})


def example(channels=1, batch=3, seed=0, labels=6, dtype=torch.float64):
    """Return logits, masks and a map with the labels -1..4; -1 counts nowhere."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(batch, channels, 9, 11, generator=generator, dtype=torch.float64)
    t = (torch.rand(batch, channels, 9, 11, generator=generator) < 0.4).long()
    regions = torch.randint(0, labels, (batch, 1, 9, 11), generator=generator) - 1
    return x.to(dtype), t, regions


def looped(loss, x, t, regions, *, background=False, empty=False):
    """Return the mean over images of the mean over classes of the mean over regions, one call for each region.

    A region is its pixels, with `background` also those of number 0; it counts where it has pixels of the class.
    """
    images = []
    for image, mask, numbers in zip(x, t, regions.expand(-1, x.shape[1], -1, -1), strict=True):
        classes = []
        for logits, own, labels in zip(image, mask, numbers, strict=True):
            values = []
            for number in range(1 if background else 0, int(labels.max()) + 1):
                if not (own[labels == number] > 0).any() and not (empty and (labels == number).any()):
                    continue
                inside = (labels == number) | (labels == 0) if background else labels == number
                values.append(loss(logits[inside].view(1, 1, -1), own[inside].view(1, 1, -1)))
            if values:
                classes.append(torch.stack(values).mean())
        images.append(torch.stack(classes).mean() if classes else 0 * x.sum())
    return torch.stack(images).mean()


def compared(loss, one, x, t, regions, rtol=1e-12, **how):
    """Compare value and gradient with the loop."""
    value, gradient = value_and_gradient(lambda x, t: loss(x, t, regions=regions), x, t)
    expected, slope = value_and_gradient(lambda x, t: looped(one, x, t, regions, **how), x, t)
    torch.testing.assert_close(value, expected, rtol=rtol, atol=rtol)
    torch.testing.assert_close(gradient, slope, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("background", ["none", "shared"])
@pytest.mark.parametrize("channels", [1, 2])
def test_dice_of_regions_is_the_mean_of_a_loop_over_them(name, background, channels):
    """Value and gradient are those of one call for each region, by every implementation."""
    x, t, regions = example(channels)
    loss = per_region({"name": "dice", "params": {"smooth": 0.5, "task": "multilabel"}}, background=background)
    with implementation(name):
        compared(loss, lossreg.build(DICE), x, t, regions, background=background == "shared")


@pytest.mark.parametrize("name", OVER_SUMS)
def test_every_loss_over_sums_has_regions(name, on_reference):
    """All losses over sums of a mask are a mean over regions without a line of their own."""
    config = {"name": name, "params": OVER_SUMS[name]}
    compared(per_region(config), lossreg.build(config), *example())


def test_soft_targets(on_reference):
    """Targets between 0 and 1 are packed as they are."""
    x, t, regions = example()
    t = t * 0.7
    compared(per_region(DICE), lossreg.build(DICE), x, t, regions)


def test_a_map_for_each_class_is_one_loss_for_each_class(on_reference):
    """With regions (N, C, *), each class has its own, as one-vs-rest training has."""
    x, t, regions = example(2)
    regions = torch.cat([regions, (regions + 2) % 5], 1)
    dice = {"name": "dice", "params": {"smooth": 0.5, "task": "multilabel"}}
    compared(per_region(dice), lossreg.build(DICE), x, t, regions)


def softmax_dice(x, target, labels, number, c, smooth=0.5):
    """Return the Dice loss of class c over the pixels of one region of one image, by hand."""
    inside = labels == number
    p, t = x.softmax(0)[c][inside], (target == c)[inside].to(x.dtype)
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("by_class", [False, True])
def test_classes_count_in_the_regions_that_have_them(name, by_class):
    """Under a softmax, a class counts over the regions with pixels of it, in one map or in its own."""
    x, _, regions = example(3)
    target = torch.randint(0, 3, (3, 9, 11), generator=torch.Generator().manual_seed(4))
    target[:, :5][regions[:, 0, :5] == 2] = 1  # region 2 has few classes
    maps = torch.cat([regions, (regions + 1) % 5, regions], 1) if by_class else regions
    loss = per_region({"name": "dice", "params": {"smooth": 0.5}})

    def loop(x, target):
        images = []
        for b in range(3):
            classes = []
            for c in range(3):
                labels = maps[b, c if by_class else 0]
                counted = [r for r in range(5) if ((labels == r) & (target[b] == c)).any()]
                classes.append(torch.stack([softmax_dice(x[b], target[b], labels, r, c) for r in counted]).mean())
            images.append(torch.stack(classes).mean())
        return torch.stack(images).mean()

    with implementation(name):
        value, gradient = value_and_gradient(lambda x, t: loss(x, t, regions=maps), x, target)
    expected, slope = value_and_gradient(loop, x, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, slope)


def test_cross_entropy_of_classes_per_region(on_reference):
    """Softmax cross-entropy is the mean over regions of the mean over their pixels, whose classes share one softmax."""
    x, _, regions = example(3)
    target = torch.randint(0, 3, (3, 9, 11), generator=torch.Generator().manual_seed(4))
    losses = torch.nn.functional.cross_entropy(x, target, reduction="none")
    means = [torch.stack([losses[b][regions[b, 0] == r].mean() for r in range(5)]).mean() for b in range(3)]
    value = per_region("cross_entropy")(x, target, regions=regions)
    torch.testing.assert_close(value, torch.stack(means).mean())


def test_class_weights_are_those_of_the_loss(on_reference):
    """The mean over the classes is the weighted one of the loss inside."""
    x, t, regions = example(2)
    params = {"task": "multilabel", "smooth": 0.5}
    first, second = (
        per_region({"name": "dice", "params": params | {"class_weight": weight}})(x, t, regions=regions)
        for weight in ([1, 0], [0, 1])
    )
    both = per_region({"name": "dice", "params": params | {"class_weight": [3, 1]}})(x, t, regions=regions)
    torch.testing.assert_close(both, (3 * first + second) / 4)


def test_blob_loss_by_hand(on_reference):
    """Kofler's formula: the mean over components of the Dice of all pixels but those of the other components."""
    logit = math.log(3.0)  # p = 3/4
    x = torch.tensor([[[logit, logit, -logit, -logit, logit]]], dtype=torch.float64)
    t = torch.tensor([[[1, 1, 0, 1, 0]]])
    regions = torch.tensor([[[1, 1, 0, 2, 0]]])
    found = per_region({"name": "dice", "params": {"smooth": 0.0}}, background="shared")(x, t, regions=regions)
    first = 1 - 2 * 1.5 / (1.5 + 0.25 + 0.75 + 2)  # pixels 0, 1 and the background 2, 4
    second = 1 - 2 * 0.25 / (0.25 + 0.25 + 0.75 + 1)
    assert float(found) == pytest.approx((first + second) / 2, abs=1e-15)


def test_masked_pixels_cost_nothing_under_cross_entropy(on_reference):
    """Code that multiplies the logits of other components by 0 adds log 2 for each of their pixels; this adds none."""
    x, t, regions = example()
    regions = regions.clamp_min(0)
    t = (regions > 0).long()
    found = per_region("bce", background="shared").evaluate(x, t, regions=regions).per_example
    for b in range(3):
        losses, surplus = [], []
        for number in range(1, 5):
            others = (regions[b, 0] > 0) & (regions[b, 0] != number)
            kept = torch.where(others, 0.0, x[b, 0])
            with_zeros = torch.nn.functional.binary_cross_entropy_with_logits(
                kept, torch.where(others, 0, t[b, 0]).double(), reduction="none"
            )
            count = (~others).sum()
            losses.append(with_zeros.sum() / count)
            surplus.append(others.sum() * math.log(2) / count)
        assert float(sum(surplus)) > 0.1
        torch.testing.assert_close(found[b], (sum(losses) - sum(surplus)) / 4)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("inner", ["dice", "bce"])
def test_one_region_is_the_whole_image(name, inner):
    """A map of zeros, without a background, gives the loss without regions."""
    x, t, regions = example()
    with implementation(name):
        found = value_and_gradient(lambda x, t: per_region(inner)(x, t, regions=torch.zeros_like(regions)), x, t)
        whole = value_and_gradient(lossreg.build(inner), x, t)
    torch.testing.assert_close(found, whole)


@pytest.mark.parametrize("background", ["none", "shared"])
def test_an_image_without_regions_is_0_and_stays_in_the_mean(background, on_reference):
    """Its value is 0, connected to the logits, with a gradient of exactly 0."""
    x, t, regions = example()
    regions = regions.clamp_min(0)
    regions[1] = 0 if background == "shared" else -1
    loss = per_region(DICE, background=background)
    output = loss.evaluate(x.requires_grad_(), t, regions=regions)
    assert output.per_example[1] == 0
    torch.testing.assert_close(output.total, output.per_example.sum() / 3)
    (gradient,) = torch.autograd.grad(output.total, x)
    assert gradient[1].eq(0).all()
    assert gradient[0].ne(0).any()
    alone = loss(x[1:2], t[1:2], regions=regions[1:2])
    assert alone.requires_grad
    assert alone.detach() == 0


def test_numbers_of_regions_have_no_meaning(on_reference):
    """Regions that are numbered otherwise give the same loss."""
    x, t, regions = example()
    other = torch.tensor([3, 0, 4, 1, 2, -1])[regions]
    loss = per_region(DICE)
    torch.testing.assert_close(loss(x, t, regions=other), loss(x, t, regions=regions))


def test_regions_without_target_pixels_count_if_asked(on_reference):
    """By default a region without pixels of a class does not count for it; for patches it does."""
    x, t, regions = example()
    t[regions == 2] = 0
    compared(per_region(DICE), lossreg.build(DICE), x, t, regions)
    compared(per_region(DICE, empty_regions=True), lossreg.build(DICE), x, t, regions, empty=True)
    ignoring = {"name": "dice", "params": {"smooth": 0.5, "absent": "ignore"}}
    same = per_region(ignoring, empty_regions=True)(x, t, regions=regions)
    torch.testing.assert_close(same, per_region(DICE)(x, t, regions=regions))


def test_ignored_pixels_are_in_no_region(on_reference):
    """They cost as much as pixels of number -1; their logits may be NaN and get a gradient of 0."""
    x, t, regions = example()
    ignored = torch.rand(3, 1, 9, 11, generator=torch.Generator().manual_seed(7)) < 0.3
    loss = per_region({"name": "dice", "params": {"smooth": 0.5, "ignore_index": 7}})
    poisoned = torch.where(ignored, torch.nan, x)
    value, gradient = value_and_gradient(lambda x, t: loss(x, t, regions=regions), poisoned, t.masked_fill(ignored, 7))
    expected, slope = value_and_gradient(
        lambda x, t: per_region(DICE)(x, t, regions=regions.masked_fill(ignored, -1)), x, t
    )
    torch.testing.assert_close((value, gradient), (expected, slope))
    assert gradient[ignored].eq(0).all()


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("inner", ["bce", "dice"])
def test_weights_of_pixels(name, inner):
    """A pixel of weight 2 is that pixel twice, one of weight 0 is in no region, and its values have no meaning."""
    x, t, regions = example()
    weight = torch.randint(0, 3, (3, 1, 9, 11), generator=torch.Generator().manual_seed(7))
    twice, none = weight == 2, weight == 0
    repeated = [torch.cat([each, torch.where(twice, each, 0)], 2) for each in (x, t)]
    numbers = torch.cat([regions.masked_fill(none, -1), torch.where(twice, regions, -1)], 2)
    poisoned = torch.where(none, torch.nan, x), torch.where(none, 255, t).to(torch.uint8)
    with implementation(name):
        found = per_region(inner)(*poisoned, regions=regions, weight=weight.double())
        torch.testing.assert_close(found, per_region(inner)(*repeated, regions=numbers))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64]
)
@pytest.mark.parametrize("shape", ["(N, 1, H, W)", "(N, H, W)"])
def test_maps_of_every_integer_type(name, dtype, shape):
    """The type of the map, and a dimension for the channel, change nothing."""
    x, t, regions = example()
    regions = regions.clamp_min(0)
    expected = per_region(DICE)(x, t, regions=regions)
    given = regions.to(dtype)
    with implementation(name):
        found = per_region(DICE)(x, t, regions=given if "1" in shape else given.squeeze(1))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("target", [torch.bool, torch.uint8, torch.int8, torch.int32, torch.float32, torch.float16])
def test_targets_of_every_type(name, target):
    """The positions that fill up a tile are ignored, with targets of every type."""
    x, t, regions = example(dtype=torch.float32)
    expected = per_region(DICE)(x.double(), t, regions=regions)
    with implementation(name):
        found = per_region(DICE)(x, t.to(target), regions=regions)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_half_precision():
    """Half logits give a float32 loss and a gradient of their own type."""
    x, t, regions = example(dtype=torch.bfloat16)
    value, gradient = value_and_gradient(lambda x, t: per_region(DICE)(x, t, regions=regions), x, t)
    wide, slope = value_and_gradient(lambda x, t: per_region(DICE)(x, t, regions=regions), x.double(), t)
    assert value.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value.double(), wide, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-2, atol=1e-5)


def test_many_tiles_of_large_regions():
    """A region larger than a tile of 256 pixels, and one that ends with a tile, are added up."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, 40, 40, generator=generator, dtype=torch.float64)
    t = (torch.rand(2, 1, 40, 40, generator=generator) < 0.3).long()
    regions = (torch.arange(1600) // 512).view(1, 1, 40, 40).repeat(2, 1, 1, 1)  # 512, 512, 512 and 64 pixels
    for name in IMPLEMENTATIONS:
        with implementation(name):
            compared(per_region(DICE), lossreg.build(DICE), x, t, regions)


def test_gradcheck(on_reference):
    """First and second derivatives of the packed pixels."""
    x, t, regions = example(batch=1)
    x, t, regions = x[..., :3, :4].clone().requires_grad_(), t[..., :3, :4], regions[..., :3, :4]
    loss = per_region(DICE, background="shared")
    assert torch.autograd.gradcheck(lambda x: loss(x, t, regions=regions), x)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, t, regions=regions), x)


def test_sums_of_losses_share_one_pass(monkeypatch):
    """A sum inside, and losses per region beside each other with the same map, read the pixels once."""
    from lossreg_segmentation import region_pass

    passes, original = [], region_pass._sums
    monkeypatch.setattr(region_pass, "_sums", lambda *given: passes.append(1) or original(*given))
    x, t, regions = example()
    terms = [{"weight": 2.0, "name": "dice"}, {"weight": 0.5, "name": "bce"}]
    inside = per_region({"name": "weighted_sum", "params": {"terms": terms}})
    output = inside.evaluate(x, t, regions=regions)
    assert len(passes) == 1
    alone = {name: per_region(name)(x, t, regions=regions) for name in ("dice", "bce")}
    torch.testing.assert_close(output.components, alone)
    torch.testing.assert_close(output.total, 2 * alone["dice"] + 0.5 * alone["bce"])

    beside = [{"name": "per_region", "params": {"loss": name, "max_regions": 5}} for name in ("dice", "bce")]
    loss = lossreg.build({"name": "weighted_sum", "params": {"terms": ["dice", *beside]}})
    passes.clear()
    found = loss(x, t, regions=regions)
    assert len(passes) == 1
    torch.testing.assert_close(found, lossreg.build("dice")(x, t) + alone["dice"] + alone["bce"])


@pytest.mark.tools
def test_compiled_code_computes_the_same():
    """torch.compile keeps value and gradient, without a graph break, and still finds a label that is too large."""
    x, t, regions = example()
    loss = per_region(DICE, background="shared")
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found = value_and_gradient(lambda x, t: compiled(x, t, regions=regions), x, t)
    torch.testing.assert_close(found, value_and_gradient(lambda x, t: loss(x, t, regions=regions), x, t))
    with pytest.raises(InputError, match="regions has the number 6"):
        compiled(x, t, regions=regions.clamp_min(6))


def test_deep_supervision_resizes_the_map(on_reference):
    """Each level has the map of its resolution, by the nearest pixel."""
    x, t, regions = (each[..., :8, :8] for each in example())
    params = {"loss": DICE, "max_regions": 5}
    deep = {"loss": {"name": "per_region", "params": params}, "weights": [1.0, 1.0]}
    loss = lossreg.build({"name": "deep_supervision", "params": deep})
    coarse, one = x[..., ::2, ::2], per_region(DICE)
    expected = one(x, t, regions=regions) + one(coarse, t[..., 1::2, 1::2], regions=regions[..., 1::2, 1::2])
    torch.testing.assert_close(loss([x, coarse], t, regions=regions), expected)


def test_an_option_that_the_loss_has_not(on_reference):
    """The message names the loss and its options."""
    x, t, regions = example()
    with pytest.raises(InputError, match=re.escape("per_region has no option region=; its options: regions, weight")):
        per_region(DICE)(x, t, region=regions)


@pytest.mark.parametrize(
    "regions, error, message",
    [
        (None, InputError, "per_region needs the map of regions: loss(input, target, regions=labels)"),
        (torch.zeros(3, 1, 9, 11), DTypeError, "got torch.float32; use regions.long()"),
        (torch.zeros(3, 1, 9, 10, dtype=torch.long), ShapeError, "regions must have one of (3, 1, 9, 11), (3, 9, 11)"),
        (torch.full((3, 9, 11), 5), InputError, "regions has the number 5, but max_regions allows numbers up to 4"),
    ],
)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_map_that_does_not_fit(regions, error, message, name):
    """The message names the mistake and how to mend it."""
    x, t, _ = example()
    with implementation(name), pytest.raises(error, match=re.escape(message)):
        per_region(DICE)(x, t, regions=regions)


def test_the_largest_label_of_a_shared_background_is_max_regions(on_reference):
    """0 is the background, so labels go from 1 to max_regions."""
    x, t, regions = example()
    loss = per_region(DICE, background="shared", max_regions=4)
    assert torch.isfinite(loss(x, t, regions=regions))
    with pytest.raises(InputError, match=r"has the number 4, .* up to 3; raise max_regions by at least 1, or"):
        per_region(DICE, max_regions=4)(x, t, regions=regions)
    assert torch.isfinite(per_region(DICE, max_regions=5)(x, t, regions=regions))


@pytest.mark.parametrize(
    "loss, message",
    [
        ({"name": "dice", "params": {"batch": True}}, "regions of two images are not the same object"),
        ({"name": "dice", "params": {"reduction": "sum"}}, "leave it out there and set it on per_region"),
        ("topk", "TopK is none of these; put it beside per_region in a weighted_sum"),
        ({"name": "weighted_sum", "params": {"terms": ["dice", "topk"]}}, "TopK is none of these"),
        ({"name": "deep_supervision", "params": {"loss": "dice"}}, "DeepSupervision is none of these"),
        ("boundary_dou", "BoundaryDoU is none of these"),
        ({"name": "per_region", "params": {"loss": "dice"}}, "PerRegion is none of these"),
    ],
)
def test_a_loss_without_regions_is_refused(loss, message):
    """A loss that is none over the sums of an image has no value per region."""
    with pytest.raises(Exception, match=re.escape(message)):
        per_region(loss)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_mask_of_255_is_told(name):
    """255 fills up tiles of bytes, and is no value of a mask without ignore_index."""
    x, t, regions = example()
    with implementation(name), pytest.raises(InputError, match="target contains 255"):
        per_region(DICE)(x, (t * 255).to(torch.uint8), regions=regions)


@pytest.mark.parametrize("shares", [(1, 2), (3, 0)], ids=str)
def test_ranks_train_as_one_process_does(shares, monkeypatch, on_reference):
    """With distributed: global, uneven and empty batches included, the mean is over the examples of all ranks."""
    x, t, regions = example(batch=3)
    loss = per_region({"name": "dice", "params": {"smooth": 0.5, "distributed": "global"}})
    whole = value_and_gradient(lambda x, t: per_region(DICE)(x, t, regions=regions), x, t)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda examples: examples.fill_(sum(shares)))
    ranks = zip(x.split(shares), t.split(shares), regions.split(shares), strict=True)
    found = [value_and_gradient(lambda x, t, own=own: loss(x, t, regions=own), *given) for *given, own in ranks]
    torch.testing.assert_close(sum(value for value, _ in found) / 2, whole[0])
    torch.testing.assert_close(torch.cat([gradient for _, gradient in found]) / 2, whole[1])


def test_values_per_class(on_reference):
    """A class without a region in an image is NaN there."""
    x, t, regions = example(2)
    t[0, 1] = 0
    output = per_region({"name": "dice", "params": {"task": "multilabel"}}).evaluate(x, t, regions=regions)
    values = output.per_class["dice"]
    assert values.shape == (3, 2)
    assert values.isnan().nonzero().tolist() == [[0, 1]]
    torch.testing.assert_close(values.nanmean(1).mean(), output.total)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_reductions(reduction, on_reference):
    """Values per example are those of each image alone."""
    x, t, regions = example()
    found = per_region(DICE, reduction=reduction)(x, t, regions=regions)
    each = torch.stack([per_region(DICE)(x[b : b + 1], t[b : b + 1], regions=regions[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(found, each if reduction == "none" else each.sum())
