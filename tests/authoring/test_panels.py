"""The numbers of `lossreg plot`: curves equal formulas, sweeps of shapes equal counted pixels, and no line is flat."""

import math

import pytest
import torch
from torch import nn

from lossreg import LossregError, build, losses
from lossreg.authoring.plot.calls import caller, channels_of
from lossreg.authoring.plot.curves import LOGITS, curve, empty_mask, false_disc, one_colour, probabilities, right_disc
from lossreg.authoring.plot.panels import Line, Panel, constant, panels
from lossreg.authoring.plot.panels import _panel as make
from lossreg.authoring.plot.shapes import RADIUS, SIDE, SWEEPS, box, disc, sampled
from lossreg.authoring.plot.variants import variants

FIRST_PARTY = {entry.name: entry for entry in losses.entries() if entry.provider in ("lossreg", "segmentation", "sam")}
NOT_DRAWN = {"matched", "text_region_contrast"}  # of queries, and of embeddings


def near(value):
    return pytest.approx(value, rel=1e-5, abs=1e-7)


def of(name, scene, logits):
    return curve(caller(build(name)), scene, logits)


def test_cross_entropy_of_a_constant_image():
    """-log p and p - t, by hand at logits 0 and 2; the gradient on the empty mask is a mean."""
    foreground, background = (of("bce", one_colour(target), [0.0, 2.0]) for target in (1, 0))
    assert foreground.values == near((math.log(2), math.log1p(math.exp(-2))))
    assert background.values == near((math.log(2), math.log1p(math.exp(2))))
    assert foreground.gradients == near((-0.5, -1 / (1 + math.exp(2))))
    assert background.gradients == near((0.5, 1 / (1 + math.exp(-2))))
    empty = of("bce", empty_mask(), [0.0, 2.0])
    assert empty.values == near(background.values)
    assert empty.gradients == near((0.5 / 1024, 1 / (1 + math.exp(-2)) / 1024))


def test_dice_on_an_empty_mask():
    """1 - s / (n p + s) for smoothing s, n pixels and prediction p; its slope is n s p (1 - p) / (n p + s)^2."""
    dice = {"name": "dice", "params": {"smooth": 1.0}}
    assert of(dice, one_colour(0), [0.0]).values == near((1 - 1 / 33,))  # 64 pixels of 1/2
    assert of(dice, one_colour(1), [0.0]).values == near((1 - 65 / 97,))  # 1 - (2 * 32 + 1) / (32 + 64 + 1)
    empty = of(dice, empty_mask(), [0.0])
    assert empty.values == near((1 - 1 / 513,))
    assert empty.gradients == near((1024 * 0.25 / 513**2 / 1024,))


def test_two_channels_where_the_background_has_logit_0():
    """Softmax of (0, x) is sigmoid of x; cross-entropy of class indices is that of a mask."""
    value = caller(nn.CrossEntropyLoss(), 2)
    assert curve(value, one_colour(1), [0.0, 2.0]).values == near((math.log(2), math.log1p(math.exp(-2))))
    assert curve(value, one_colour(0), [0.0, 2.0]).gradients == near((0.5, 1 / (1 + math.exp(-2))))


def test_the_discs():
    """The right one has the mask as target and opposite logits outside; the false one no target, and -6 outside."""
    inside = int(disc(RADIUS).mask().sum())
    assert inside == pytest.approx(math.pi * RADIUS**2, rel=0.02)
    (found,) = curve(
        lambda x, t: ((x > 0) * t).sum() + 1000 * ((x < 0) * (1 - t)).sum() + 0 * x.sum(), right_disc(), [2.0]
    ).values
    assert found == inside + 1000 * (SIDE**2 - inside)
    (found,) = curve(
        lambda x, t: (x == 2).sum() + 1e4 * (x == -6).sum() + 1e9 * t.sum() + 0 * x.sum(), false_disc(), [2.0]
    ).values
    assert found == inside + 1e4 * (SIDE**2 - inside)


def test_predictions_are_the_sigmoid_of_the_logits():
    """They are the axis of the empty mask; by default it spans nearly all of 0 to 1, without 1/2 itself."""
    assert probabilities([0.0, math.log(3)]) == near((0.5, 0.75))
    whole = probabilities(LOGITS)
    assert whole[0] < 0.001
    assert whole[-1] > 0.999
    assert list(whole) == sorted(whole)
    assert 0 not in LOGITS


@pytest.mark.parametrize("value", [torch.tensor(3.0), nn.Parameter(torch.tensor(3.0))])
def test_a_missing_gradient_is_0(value):
    """For a constant, and for a loss that depends on its own parameters only."""
    assert curve(lambda x, t: value, one_colour(1), [1.0]) == ((3.0,), (0.0,))


def test_sampling_leaves_the_random_numbers_alone_and_repeats():
    """A loss that draws points gives the same lines every time."""

    def noise(x, t):
        return x.mean() * torch.rand(())

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = curve(noise, one_colour(1), [1.0, 2.0]), sampled(noise, SWEEPS["gap"])
    assert torch.equal(torch.rand(3), expected)
    assert first[0].values[1] == near(2 * first[0].values[0])
    with torch.no_grad():
        assert (curve(noise, one_colour(1), [1.0, 2.0]), sampled(noise, SWEEPS["gap"])) == first


def test_a_loss_that_raises_on_the_tensors_is_an_error():
    """Its own error is the cause, and the message names the shapes."""
    with pytest.raises(LossregError) as caught:
        curve(caller(nn.CosineEmbeddingLoss()), one_colour(1))
    assert str(caught.value).startswith(
        "CosineEmbeddingLoss cannot be drawn: on logits (1, 1, 8, 8) and a target (1, 1, 8, 8) it raised TypeError: "
    )
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_loss_without_reduction_is_an_error():
    """One value is drawn, not an image."""
    with pytest.raises(LossregError, match=r"MSELoss returned \(1, 1, 8, 8\), .* choose a reduction that gives one"):
        curve(caller(nn.MSELoss(reduction="none")), one_colour(1))


def wrong(x, t):
    """Count the pixels on the wrong side."""
    return ((x > 0) != (t > 0)).sum().float()


def extra(x, t):
    return ((x > 0) & (t == 0)).sum().float()


def test_shapes_have_whole_pixels_and_a_sure_inside():
    """A box of 4 x 6 pixels has 24; its logits are 6 inside and -6 outside."""
    shape = box(10, 14, 3)
    assert shape.mask().sum() == 24
    assert set(shape.logits().flatten().tolist()) == {6.0, -6.0}
    assert (shape | box(20, 21, 3)).mask().sum() == 30
    assert box(10, 20, 3).without(box(12, 14, 9)).mask().sum() == 48


def test_the_sweeps_count_as_their_titles_say():
    """At a shift of 0 nothing is wrong; gaps and missed lines cost 6 pixels per length; a larger disc is extra."""
    shift = sampled(wrong, SWEEPS["shift"])
    assert shift[0] == 0
    assert list(shift) == sorted(shift)
    assert shift[-1] == 2 * disc(RADIUS).mask().sum()  # apart
    dilation = dict(zip(SWEEPS["dilation"].numbers, sampled(wrong, SWEEPS["dilation"]), strict=True))
    assert dilation[0] == 0
    assert dilation[7] == sampled(extra, SWEEPS["dilation"])[-1] == (disc(16).mask() - disc(9).mask()).sum()
    assert sampled(extra, SWEEPS["dilation"])[0] == 0 < dilation[-7]
    assert sampled(wrong, SWEEPS["gap"]) == tuple(6.0 * gap for gap in SWEEPS["gap"].numbers)
    assert sampled(wrong, SWEEPS["size"]) == tuple(6.0 * length for length in SWEEPS["size"].numbers)


@pytest.mark.parametrize("name", ["iou_prediction", "sam", "sam2", "spatial_relevance"])
def test_a_model_of_sam_is_sure_of_its_masks(name):
    """It predicts an IoU of 1, so a mask that is right costs less than one beside its place."""
    right, *_, beside = sampled(caller(build(name)), SWEEPS["shift"])
    assert right < beside
    if name == "iou_prediction":
        assert (right, beside) == near((0.0, 1.0))


def test_regions_are_the_halves_of_the_image():
    """So a missed object in the right half costs half, however small it is."""
    dice = {"name": "dice", "params": {"smooth": 0.0}}
    value = caller(build({"name": "per_region", "params": {"loss": dice}}))
    assert sampled(value, SWEEPS["size"])[0] == pytest.approx(0.5, abs=0.03)


# Lines that are the same everywhere by the definition of a loss.
NO_POLICY = {"absent": "'ignore' leaves the mask out, and 'zero' says 0"}
NO_SMOOTHING = dict.fromkeys(("value", "gradient", "empty", "empty_gradient"), "no smoothing: an empty mask costs 1")
NO_BOUNDARY = dict.fromkeys(("empty", "empty_gradient"), "an empty mask has one value, and no gradient")
CONSTANT = {
    "boundary": NO_BOUNDARY,
    "boundary_dou": NO_BOUNDARY,
    "mcc": NO_BOUNDARY,
    "per_region": NO_BOUNDARY,  # no region with target pixels
    "cldice": {
        "empty": "no smoothing: any centre line where none is costs 1",
        "empty_gradient": "as its value",
        "dilation": "a centre line stays where it is",
    },
    "region_size": {"shift": "the size is the same at every place"},
    "focal_tversky": {"size": "gamma = 5 of a loss far below 1"},
    "iou_prediction": dict.fromkeys(
        ("value", "gradient", "empty", "empty_gradient"), "no gradient reaches the logits; an empty mask has the IoU 0"
    ),
    "sam2": dict.fromkeys(
        ("value", "gradient", "empty", "empty_gradient"), "an object without pixels has only a score"
    ),
    **dict.fromkeys(
        ("dice", "jaccard", "squared_dice", "log_cosh_dice", "generalized_dice", "wasserstein_dice"), NO_SMOOTHING
    ),
}


@pytest.mark.tools
@pytest.mark.parametrize("name", sorted(FIRST_PARTY.keys() - NOT_DRAWN))
def test_no_line_of_the_default_picture_is_flat(name):
    """Each panel has a line, each line varies visibly, and lines that cannot are named with a reason above."""
    found = panels(name)
    assert {"value", "gradient", "shift", "dilation", "gap", "size"} <= found.keys()
    allowed = NO_POLICY | CONSTANT.get(name, {})
    for key, panel in found.items():
        for line in panel.lines:
            assert all(map(math.isfinite, line.values))
            assert line.span > 1e-6
            assert len(line.across) == len(line.values) > 10
        assert key in allowed or not panel.constant, constant(panel)
        assert key in allowed or panel.lines
    assert set(CONSTANT.get(name, {})) <= {key for key, panel in found.items() if panel.constant}


@pytest.mark.parametrize("name", sorted(NOT_DRAWN))
def test_losses_of_other_inputs_cannot_be_drawn(name):
    """By their contracts; all others of ours can."""
    with pytest.raises(LossregError, match=f"/{name} cannot be drawn: its input is '.*' and its target '"):
        channels_of(FIRST_PARTY[name])


def test_all_others_can_be_drawn():
    """With two channels only those of class indices."""
    found = {name: channels_of(entry) for name, entry in FIRST_PARTY.items() if name not in NOT_DRAWN}
    assert {name for name, channels in found.items() if channels == 2} == {"lovasz_softmax", "wasserstein_dice"}
    assert len(found) == 40


def test_the_parameter_that_tells_most_is_drawn_with_its_default():
    """And what a caller varies instead; parameters that are given are not varied."""

    def labels(name, given, vary=None):
        return list(variants(FIRST_PARTY[name], given, vary, 1))

    assert labels("focal", {}) == ["gamma = 0", "gamma = 0.5", "gamma = 1", "gamma = 2", "gamma = 5"]
    assert labels("focal", {"gamma": 2.0}) == ["pos_weight = 0.25", "pos_weight = 1", "pos_weight = 4"]
    assert labels("asymmetric_focal_tversky", {}) == ["gamma = 0", "gamma = 0.5", "gamma = 0.75"]  # below 1
    assert labels("mcc", {}) == ["smooth = 1e-05", "smooth = 1", "smooth = 100"]  # 0 would be like the default
    assert labels("boundary", {}) == [""]
    assert labels("weighted_sum", {}) == [""]  # of the terms of its smallest config
    assert labels("focal", {}, ("alpha", [None, 0.5])) == ["alpha = null", "alpha = 0.5"]
    one, eight = variants(FIRST_PARTY["bce"], {}, ("pos_weight", [1.0, 8.0]), 1).values()
    values = [curve(value, one_colour(1), [0.5]).values[0] for value in (one, eight)]
    assert values[1] == near(8 * values[0])


@pytest.mark.tools
def test_a_label_that_makes_no_difference_is_dropped():
    """The size of a mask has no parameter; one line stands for all steps of terms that have no schedule."""
    terms = [{"name": "dice", "points": [[0, 1.0], [10, 1.0]]}]
    assert [line.label for line in panels("scheduled", {"terms": terms})["gap"].lines] == [""]
    terms = [{"name": "dice", "points": [[0, 1.0], [10, 3.0]]}]
    lines = panels("scheduled", {"terms": terms})["gap"].lines
    assert [line.label for line in lines] == ["step = 0", "step = 5", "step = 10"]
    assert lines[2].values == near(tuple(3 * value for value in lines[0].values))


@pytest.mark.tools
def test_policies_for_absent_classes_are_lines():
    """ "false_positives" is the mean of p; the constant ones are named in words."""
    panel = panels("dice")["absent"]
    lines = {line.label: line for line in panel.lines}
    assert lines.keys() == {"absent = score", "absent = false_positives"}
    mean = lines["absent = false_positives"]
    assert mean.values == near(mean.across)
    assert constant(panel) == "0 everywhere: absent = ignore, absent = zero"


def test_a_flat_line_is_told_and_not_drawn():
    """One that spans less than a 200th of what the others span."""
    steep, flat = Line("a", (0.0, 1.0), (0.0, 1.0)), Line("b", (0.0, 1.0), (0.3, 0.301))
    assert make("", "", "", [steep, flat]) == Panel("", "", "", (steep,), (flat,))
    assert make("", "", "", [flat]).lines == (flat._replace(label=""),)
    assert make("", "", "", [flat], 1.0).constant == (flat._replace(label=""),)


def test_words_for_what_is_the_same_everywhere():
    """Lines of one value together; a value that is not exact is "about"."""
    flat = [
        Line("a", (0.0, 1.0), (0.5, 0.5), 0),
        Line("b", (0.0, 1.0), (0.5, 0.5)),
        Line("c", (0.0, 1.0), (2.0, 2.001)),
    ]
    panel = Panel("", "", "", (), tuple(flat))
    assert constant(panel) == "0.5 everywhere: a, target 0, b; about 2 everywhere: c"
    assert constant(panel._replace(constant=(Line("", (0.0,), (1.0,)),))) == "1 everywhere"
    assert constant(panel._replace(constant=())) == ""
