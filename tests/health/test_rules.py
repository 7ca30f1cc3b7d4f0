"""Rules: functions of numbers, so each test is a window of literals."""

import math
import random

import pytest

import lossreg
from lossreg.health import (
    Collapse,
    ComponentDominance,
    ConstantPrediction,
    ConstantTargets,
    DeadComponent,
    EmptyTargets,
    FullTargets,
    IgnoredTargets,
    NonFinite,
    Plateau,
    Saturation,
    Spike,
    TargetRange,
    ZeroLoss,
    default_rules,
)
from lossreg.health.debounce import Debounce
from lossreg.health.event import Finding
from lossreg.health.window import Example, Mask, Update, Window

NAN, INF = math.nan, math.inf


def mask(predicted=0.3, target=0.3, **fields):
    known = {"valid": 1.0, "spread": 0.2, "lowest": -4.0, "highest": 4.0, "foreground": target, "wrong": 0.01}
    return Mask(predicted=predicted, target=target, **{**known, "stuck": 0.0, **fields})


def example(*masks, loss=0.5, empty=False, sample_id=None):
    return Example(loss, empty, masks, sample_id)


def window(*examples, loss=0.5, **more):
    return Window([Update(7, loss, {}, examples)], **more)


def course(losses, history=()):
    return Window([Update(number, loss) for number, loss in enumerate(losses)], history)


def found(rule, given):
    """Return the findings of a rule."""
    return [finding for finding in rule.check(given).values() if finding is not None]


# ---- NonFinite


@pytest.mark.parametrize(
    "broken",
    [
        Window([Update(7, NAN)]),
        Window([Update(7, -INF)]),
        window(example(mask(), loss=INF)),
        window(example(mask(lowest=NAN, highest=NAN))),
        window(example(mask(highest=INF))),
    ],
    ids=["nan", "-inf", "per example", "prediction nan", "prediction inf"],
)
def test_a_number_that_is_not_finite_is_found(broken):
    """In the total, a component, an example's loss or the prediction."""
    (finding,) = found(NonFinite(), broken)
    assert (finding.severity, finding.kind, finding.step) == ("error", "fault", 7)


def test_a_broken_component_beside_a_finite_total_is_a_warning():
    """It has a weight of 0, or the total would not be finite; once the total is broken as well, it is an error."""
    logged = Update(7, 0.5, {"dice": 0.5, "edge": NAN})
    (finding,) = found(NonFinite(), Window([logged]))
    assert (finding.severity, finding.step) == ("warning", 7)
    assert "only logged" in finding.hint
    assert list(finding.evidence["components"]) == ["edge"]
    (finding,) = found(NonFinite(), Window([logged, Update(8, NAN, {"dice": 0.5, "edge": NAN})]))
    assert finding.severity == "error"


def test_the_samples_with_nan_are_named():
    """Only those, and the first step."""
    updates = [
        Update(3, 0.5, {}, (example(mask(), sample_id="well"),)),
        Update(4, NAN, {}, (example(mask(), sample_id="fine"), example(mask(), loss=NAN, sample_id="sick"))),
        Update(5, NAN, {}, (example(mask(), loss=NAN, sample_id="too"),)),
    ]
    (finding,) = found(NonFinite(), Window(updates))
    assert (finding.step, finding.sample_ids) == (4, ("sick", "too"))
    assert finding.evidence["updates"] == 2


def test_a_class_that_is_ruled_out_and_an_empty_batch_are_no_fault():
    """A logit of -inf is how models say never; an empty batch has no loss."""
    assert not found(NonFinite(), window(example(mask(lowest=-INF))))
    assert not found(NonFinite(), Window([Update(1, None)]))


# ---- ZeroLoss


def test_zero_on_empty_targets_is_of_the_data_and_on_others_a_fault():
    """Two findings, each with its samples."""
    empty = [example(mask(0.0, 0.0, wrong=0.0), loss=0.0, empty=True, sample_id=f"e{n}") for n in range(6)]
    wrong = [example(mask(0.0, 0.3, wrong=0.3), loss=0.0, sample_id=f"w{n}") for n in range(4)]
    data, fault = found(ZeroLoss(), window(*empty, *wrong))
    assert (data.kind, data.severity, data.sample_ids) == ("data", "info", ("e0", "e1", "e2", "e3", "e4", "e5"))
    assert (fault.kind, fault.severity, fault.sample_ids) == ("fault", "error", ("w0", "w1", "w2", "w3"))
    assert data.evidence == {"zero": 6, "examples": 10}
    assert fault.evidence == {"zero": 4, "examples": 4}
    assert "check-targets" in data.hint
    for number, severity in ((72, "info"), (73, "warning")):  # from which on EmptyTargets is certain
        (data,) = found(ZeroLoss(), window(*empty[:1] * number))
        assert (data.kind, data.severity) == ("data", severity)
    (data,) = found(ZeroLoss(), Window([Update(1, 0.0, {}, tuple(empty[:1]))], before=[Update(1, 0.5, {}, wrong)] * 20))
    assert data.severity == "info"  # a short last window that happens to be empty


def test_a_batch_is_judged_as_one_where_losses_are_not_per_example():
    """Empty if all of its targets are."""
    empty, filled = example(mask(0, 0, wrong=0.0), loss=None, empty=True), example(mask(wrong=0.3), loss=None)
    assert [finding.kind for finding in found(ZeroLoss(), window(empty, empty, loss=0.0))] == ["data"]
    assert [finding.kind for finding in found(ZeroLoss(), window(empty, filled, loss=0.0))] == ["fault"]


@pytest.mark.parametrize(
    "given",
    [
        window(example(mask(wrong=0.0), loss=0.0)),
        window(example(mask(valid=0.0, wrong=0.0), loss=0.0, empty=None)),
        window(example(Mask(0.0), loss=0.0, empty=None)),
        window(*[example(mask(wrong=0.3), loss=0.0)] * 2, *[example(mask(wrong=0.3), loss=0.4)] * 2),
        window(example(mask(wrong=0.3), loss=-0.4)),
        window(example(mask(wrong=1e-4), loss=1e-7)),
        window(*[example(mask(0, 0), loss=0.0, empty=True)] * 5, *[example(mask(), loss=0.2)] * 5),
    ],
    ids=[
        "perfect",
        "all ignored",
        "all ignored, no prediction",
        "sample weights of zero",
        "negative",
        "nearly perfect",
        "half empty",
    ],
)
def test_zero_may_be_right(given):
    """Each belongs to a sound training."""
    assert not found(ZeroLoss(), given)


def test_zero_without_prediction_or_target_is_of_unknown_kind():
    """A margin loss is zero for right answers; so it is information, and names the missing arguments."""
    (alone,) = found(ZeroLoss(), Window([Update(1, 0.0), Update(2, 0.0)]))
    assert (alone.kind, alone.severity) == ("unknown", "info")
    assert "prediction= and target=" in alone.hint
    (filled,) = found(ZeroLoss(), window(example(Mask(1.0), loss=0.0)))
    assert filled.kind == "unknown"
    (empty,) = found(ZeroLoss(), window(example(Mask(1.0), loss=0.0, empty=True)))
    assert empty.kind == "data"
    right = example(mask(wrong=0.0), loss=0.0)
    assert not found(ZeroLoss(), window(right, example(loss=0.0)))  # every n-th example has masks, and those are right


# ---- Collapse


def test_nothing_predicted_where_there_is_foreground_is_a_collapse():
    """Many empty targets change nothing."""
    filled = [example(mask(0.002, 0.1), sample_id=f"s{n}") for n in range(4)]
    empty = [example(mask(0.0, 0.0, foreground=0.0), empty=True)] * 60
    (finding,) = found(Collapse(), window(*filled, *empty))
    assert (finding.severity, finding.kind) == ("error", "fault")
    (combined,) = Collapse().combine([finding])
    (one,) = combined.evidence["classes"]
    assert combined.evidence["all"] == "zeros"
    assert one == {"class": 0, "predicted": pytest.approx(0.002), "target": pytest.approx(0.1), "examples": 4}
    assert combined.sample_ids == ("s0", "s1", "s2", "s3")
    assert "bce_dice_focal" in combined.hint
    assert "check-targets" in combined.hint


def test_everything_predicted_is_the_mirror():
    """Judged where there is background."""
    rule = Collapse()
    (finding,) = rule.combine(found(rule, window(*[example(mask(0.999, 0.4))] * 4)))
    assert finding.evidence["all"] == "ones"
    assert finding.evidence["classes"][0]["predicted"] == pytest.approx(0.999)
    assert finding.severity == "error"
    assert "inverted" in finding.hint
    assert "foreground is rare" not in finding.hint
    assert not found(rule, window(*[example(mask(1.0, 1.0))] * 4))  # full masks


@pytest.mark.parametrize(
    "masks",
    [
        [mask(0.0, 0.0, foreground=0.0)] * 50,
        [mask(0.0001, 0.001)] * 8,
        [mask(0.004, 0.012)] * 8,
        [mask(0.05, 0.9)] * 8,
        [mask(0.0, 0.3)] * 3,
        [mask(0.0, 0.3)] * 4 + [mask(0.3, 0.3)] * 4,
        [mask(0.0, 0.3, valid=0.0)] * 8,
        [mask(NAN, 0.3)] * 8,
        [mask(0.0, 0.05, foreground=0.0)] * 8,
    ],
    ids=["empty", "tiny", "small", "low", "few", "half", "ignored", "nan", "smoothed labels"],
)
def test_little_is_no_collapse(masks):
    """Empty targets, tiny objects, a small object that is found, too few to say, labels smoothed over empty masks."""
    assert not found(Collapse(), window(*[example(one) for one in masks]))


def test_the_thresholds_are_half_a_hundredth_and_a_hundredth():
    """Of the probability, which the usual prior of 0.01 is not, and of the target."""
    assert found(Collapse(), window(*[example(mask(0.0049, 0.3))] * 4))
    assert not found(Collapse(), window(*[example(mask(0.0051, 0.3))] * 4))
    assert found(Collapse(low=0.01), window(*[example(mask(0.0099, 0.3))] * 4))
    assert found(Collapse(), window(*[example(mask(0.0, 0.0101))] * 4))
    assert not found(Collapse(), window(*[example(mask(0.0, 0.0099))] * 4))
    assert found(Collapse(target=0.001), window(*[example(mask(0.0, 0.0099))] * 4))


def low(predicted, target, *, missed=1.0, extra=0.0, **fields):
    """Make a mask with hard targets, some foreground missed and some background wrong."""
    without, wrongly = missed * target, extra * (1 - target)
    return mask(predicted, target, positive=target - without + wrongly, wrong=without + wrongly, **fields)


@pytest.mark.parametrize("predicted, target", [(0.006, 0.25), (0.02, 0.25), (0.009, 0.05), (0.1, 0.6)])
def test_low_probabilities_that_miss_the_foreground_are_a_collapse_if_that_lasts(predicted, target):
    """Above half of a hundredth, which two windows do not tell; 200 updates without a rise do."""
    (finding,) = found(Collapse(), window(*[example(low(predicted, target))] * 4))
    assert (finding.evidence["all"], finding.severity, finding.patience) == ("zeros", "error", 200)
    assert finding.level == pytest.approx(0.2)  # the spread


@pytest.mark.parametrize(
    "masks",
    [
        [low(0.02, 0.25, missed=0.9)],
        [low(0.008, 0.045)],
        [mask(0.02, 0.25, wrong=0.25)],
    ],
    ids=["found in part", "small", "unknown"],
)
def test_low_probabilities_may_be_right(masks):
    """A tenth found, small objects, and others."""
    assert not found(Collapse(), window(*[example(*masks)] * 4))


def test_foreground_of_exactly_one_half_is_missed():
    """A last layer that only lowers logits: no pixel is off by more than 0.5, and none is found."""
    (finding,) = found(Collapse(), window(*[example(mask(0.12, 0.25, positive=0.0, wrong=0.0))] * 4))
    assert (finding.evidence["all"], finding.severity) == ("zeros", "warning")


def test_a_network_that_knows_the_frequency_alone_is_a_warning():
    """Of images that say nothing of the mask: no pixel above 0.5, though the mean is right."""
    for predicted in (0.06, 0.25):
        (finding,) = found(Collapse(), window(*[example(low(predicted, 0.25))] * 4))
        assert (finding.evidence["all"], finding.severity, finding.patience) == ("zeros", "warning", 200)


def test_a_warning_lasts_for_as_many_examples_as_well():
    """Nine masks of ten are empty: 15 of 50 updates have foreground, so 200 examples take 667 updates. Not an error."""

    def given(predicted):
        with_foreground = (example(low(predicted, 0.25)),)
        return Window([Update(step, 0.5, {}, with_foreground if step < 15 else ()) for step in range(50)])

    (finding,) = found(Collapse(), given(0.08))
    assert (finding.severity, finding.patience) == ("warning", 667)
    (finding,) = found(Collapse(), given(0.04))
    assert (finding.severity, finding.patience) == ("error", 200)


def test_the_background_lost_to_a_weight_of_the_foreground_is_the_mirror():
    """pos_weight=1e4: all of the background is wrong. Near 0.5, where networks begin, that must last twice as long."""
    (finding,) = found(Collapse(), window(*[example(low(0.71, 0.2, missed=0.0, extra=1.0))] * 4))
    assert (finding.evidence["all"], finding.patience) == ("ones", 200)
    assert finding.evidence["predicted"] == pytest.approx(0.71)
    assert finding.severity == "error"
    for near in (0.51, 0.61):
        (finding,) = found(Collapse(), window(*[example(low(near, 0.2, missed=0.0, extra=1.0))] * 4))
        assert (finding.severity, finding.patience) == ("warning", 400)
    assert not found(Collapse(), window(*[example(low(0.61, 0.2, missed=0.0, extra=0.9))] * 4))


def test_a_frequent_class_that_the_loss_ignores_is_lost():
    """ignore_index=0 by mistake: the background, four pixels of five, is predicted nowhere, with a mean of 0.064."""
    background, others = low(0.064, 0.8), [low(0.234, 0.05, missed=0.1, extra=0.2)] * 4
    (finding,) = found(Collapse(), window(*[example(background, *others)] * 4))
    assert (finding.evidence["class"], finding.severity, finding.patience) == (0, "warning", 200)


def test_a_rare_class_is_predicted_at_its_frequency_until_it_is_learnt():
    """In one image of ten, and there 13 % of the pixels: 0.013 is right for a network that knows no more of it."""
    without = [low(0.6, 0.6, missed=0.0), low(0.387, 0.4, missed=0.0), low(0.013, 0.0, spread=0.1)]
    having = [low(0.6, 0.5, missed=0.0), low(0.387, 0.37, missed=0.0), low(0.013, 0.13)]
    assert not found(Collapse(), window(*[example(*without)] * 36, *[example(*having)] * 4))
    dead = [low(0.61, 0.5, missed=0.0), low(0.3885, 0.37, missed=0.0), low(0.0015, 0.13)]
    rule = Collapse(low=0.001)
    (finding,) = found(rule, window(*[example(*without)] * 36, *[example(*dead)] * 4))
    assert (finding.evidence["class"], finding.severity, finding.patience) == (2, "warning", 200)


def test_the_foreground_of_classes_is_judged_together_as_well():
    """Of images that say nothing of their classes: each is rare, and predicted at its frequency; none is found."""
    background = low(0.7, 0.7, missed=0.0, extra=1.0)
    rule = Collapse()
    (finding,) = rule.combine(found(rule, window(*[example(background, *[low(0.1, 0.1)] * 3)] * 4)))
    (one,) = finding.evidence["classes"]
    assert (one["class"], finding.severity) == ("1-3", "warning")
    assert (one["predicted"], one["target"]) == (pytest.approx(0.3), pytest.approx(0.3))
    dead = low(0.97, 0.7, missed=0.0, extra=1.0)
    (finding,) = rule.combine(found(rule, window(*[example(dead, *[low(0.01, 0.1)] * 3)] * 4)))
    assert ([row["class"] for row in finding.evidence["classes"]], finding.severity) == ([1, 2, 3], "error")


def test_classes_are_judged_each_for_itself():
    """One that is never predicted is a warning, all but one an error; one that is absent is not judged."""
    well, all_there = mask(0.5, 0.5), mask(0.998, 0.6)
    lost, absent = mask(0.001, 0.2), mask(0.0, 0.0, foreground=0.0)
    rule = Collapse()
    (finding,) = rule.combine(found(rule, window(*[example(well, well, lost, absent)] * 4)))
    assert [one["class"] for one in finding.evidence["classes"]] == [2]
    assert finding.severity == "warning"
    (finding,) = rule.combine(found(rule, window(*[example(all_there, lost, lost, absent)] * 4)))
    assert [one["class"] for one in finding.evidence["classes"]] == [1, 2]
    assert (finding.severity, finding.evidence["all"]) == ("error", "zeros")  # once, and not as "ones" of class 0


def test_masks_that_do_not_exclude_each_other_have_collapsed_if_all_have():
    """Of three masks for one prompt the best alone may be trained; of two labels one may be lost."""
    well, lost = mask(0.2, 0.2), mask(0.001, 0.2)
    severities = []
    for masks in ([well, lost, lost], [well, lost], [lost, lost]):
        severities += [
            finding.severity for finding in Collapse().combine(found(Collapse(), window(*[example(*masks)] * 4)))
        ]
    assert severities == ["warning", "warning", "error"]
    full = mask(0.999, 0.4)
    (finding,) = Collapse().combine(found(Collapse(), window(*[example(well, full)] * 4)))
    assert (finding.severity, finding.evidence["all"]) == ("warning", "ones")


def test_rare_ones_among_many_classes_are_long_predicted_at_their_rate():
    """A network that knows nothing of 400 classes gives each 0.0025; one of 20 that learns begins with the frequent."""
    assert not found(Collapse(), window(*[example(*[mask(1 / 400, 0.05)] * 400)] * 4))
    rest = (1 - 0.96) / 19
    assert not found(Collapse(), window(*[example(mask(0.96, 0.5), *[mask(rest, 0.05)] * 19)] * 4))
    dead = (1 - 0.996) / 19
    assert len(found(Collapse(), window(*[example(mask(0.996, 0.5), *[mask(dead, 0.05)] * 19)] * 4))) == 19


# ---- ConstantPrediction


def test_a_prediction_that_is_the_same_everywhere_is_constant():
    """Relative to p (1 - p), so at any prior."""
    for predicted in (0.5, 0.01, 1e-6):
        spread = 1e-4 * predicted
        (finding,) = found(ConstantPrediction(), window(*[example(mask(predicted, 0.3, spread=spread))] * 4))
        assert finding.severity == "error"
    assert found(ConstantPrediction(), window(*[example(mask(0.0, 0.3, spread=0.0))] * 4))


@pytest.mark.parametrize(
    "masks",
    [
        [mask(0.0, 0.0, foreground=0.0, spread=0.0)] * 9,
        [mask(1.0, 1.0, spread=0.0)] * 9,
        [mask(0.01, 0.3, spread=0.01 * 0.99 * 0.01)] * 9,
        [mask(spread=0.0)] * 3,
        [mask(spread=0.0)] * 8 + [mask(spread=0.1)],
    ],
    ids=["empty", "full", "a new network with a prior", "few", "one varies"],
)
def test_a_prediction_may_be_even(masks):
    """Where the target is, where a network is new, where there are too few to say."""
    assert not found(ConstantPrediction(), window(*[example(one) for one in masks]))


def test_a_prediction_that_is_the_same_for_every_image_is_constant():
    """Though it is not even: zero padding leaves a border. Not where targets are the same, or one end differs."""
    rule = ConstantPrediction()
    targets = (0.1, 0.2, 0.3, 0.4)
    (finding,) = found(rule, window(*[example(mask(0.2, target, spread=0.05)) for target in targets]))
    assert finding.evidence == {"constant": 4, "examples": 4, "predicted": pytest.approx(0.2)}
    assert not found(rule, window(*[example(mask(0.2, 0.3, spread=0.05))] * 4))
    for change in ({"highest": 4.01}, {"lowest": -4.01}, {"predicted": 0.201}, {"highest": INF}):
        given = [mask(0.2, target, spread=0.05) for target in targets[1:]] + [mask(**{"predicted": 0.2, **change})]
        assert not found(rule, window(*map(example, given)))
    apart = [Update(n, 0.5, {}, (example(mask(0.2, target, spread=0.05)),)) for n, target in enumerate(targets)]
    assert not found(rule, Window(apart))  # one example each has nothing to be compared with


def test_a_class_that_is_even_in_an_image_that_is_not_is_no_constant():
    """All masks of an example must be."""
    assert not found(ConstantPrediction(), window(*[example(mask(spread=0.0), mask(spread=0.2))] * 9))


# ---- Saturation


def test_wrong_with_full_confidence_is_saturation():
    """Half of the wrong pixels and more; the worst samples first."""
    given = [example(mask(wrong=0.05, stuck=0.01 * number), sample_id=f"s{number}") for number in range(2, 6)]
    (finding,) = found(Saturation(), window(*given))
    assert finding.sample_ids == ("s5", "s4", "s3", "s2")
    assert finding.evidence == {"wrong": pytest.approx(0.05), "stuck": pytest.approx(0.035)}


def test_targets_above_1_are_of_the_data():
    """Masks of 0 and 255: everything that is foreground is off by more than 1, and no learning rate helps."""
    given = example(mask(0.2, 51.0, foreground=0.2, wrong=0.0, stuck=0.0))._replace(values=(0.0, 255.0))
    (finding,) = found(TargetRange(), window(given))
    assert (finding.severity, finding.kind, finding.evidence["highest"]) == ("error", "data", 255.0)
    assert "divide masks of 0 and 255 by 255" in finding.hint
    wrong = given._replace(masks=(mask(0.2, 51.0, foreground=0.2, wrong=0.2, stuck=0.2),))
    assert not found(Saturation(), window(*[wrong] * 4))  # the cause is reported alone
    (finding,) = found(Saturation(), window(*[example(mask(0.2, 0.6, foreground=0.2, wrong=0.2, stuck=0.2))] * 4))
    assert (finding.severity, finding.kind) == ("warning", "fault")  # soft ones


def values(target, lowest, highest, foreground):
    """Make a window of one example, by mean, range and foreground of its target."""
    return window(example(mask(0.2, target, foreground=foreground))._replace(values=(lowest, highest)))


def test_a_value_above_1_beside_others_may_be_one_to_ignore():
    """Of 20 % foreground of 1 and a border of 5 % at 255, which the loss ignores: a warning, ignore_index first."""
    (finding,) = found(TargetRange(), values(0.2 + 0.05 * 255, 0, 255, 0.25))
    assert (finding.severity, finding.kind) == ("warning", "data")
    assert finding.hint.startswith("some pixels of the targets exceed 1: set ignore_index")


def test_masks_of_minus_1_and_1_are_an_error_and_a_regression_is_not():
    """Of two values the mean follows from the share of foreground; noise has no such mean."""
    (finding,) = found(TargetRange(), values(2 * 0.3 - 1, -1, 1, 0.3))
    assert (finding.severity, "(target + 1) / 2" in finding.hint) == ("error", True)
    (finding,) = found(TargetRange(), values(0.01, -3.9, 4.1, 0.31))
    assert (finding.severity, "of a regression pass the loss alone" in finding.hint) == ("info", True)


def test_values_of_masks_are_no_event():
    """Hard, soft, overshooting by an interpolation, and in a smaller part of the examples."""
    for lowest, highest in ((0, 1), (0.1, 0.9), (-0.1, 1.2), (0, 0)):
        assert not found(TargetRange(), values(0.3, lowest, highest, 0.3))
    strange = example(mask())._replace(values=(0, 255))
    assert not found(TargetRange(), window(strange, example(mask())._replace(values=(0, 1))))
    assert not found(TargetRange(), window(example(mask())))  # class indices


@pytest.mark.parametrize("wrong, stuck", [(0.0, 0.0), (0.009, 0.009), (0.05, 0.02), (0.4, 0.1)])
def test_confidence_may_be_right(wrong, stuck):
    """Nothing wrong, errors of labels, errors with a gradient."""
    assert not found(Saturation(), window(*[example(mask(wrong=wrong, stuck=stuck))] * 4))


# ---- Spike


def test_a_leap_is_found_with_its_step_and_worst_sample():
    """Against the median of those before."""
    usual = [0.5 + 0.01 * math.sin(number) for number in range(60)]
    leap = Update(99, 4.0, {}, (example(loss=0.4, sample_id="fine"), example(loss=7.6, sample_id="bad")))
    (finding,) = found(Spike(), Window([Update(98, 0.5), leap, Update(100, 0.5)], usual))
    assert (finding.step, finding.sample_ids) == (99, ("bad", "fine"))
    assert finding.evidence == {"loss": 4.0, "median": pytest.approx(0.5, abs=0.01)}


@pytest.mark.parametrize(
    "losses",
    [
        [10 * 0.9**number for number in range(100)],
        [0.5] * 60 + [5.0],
        [0.0] * 60 + [0.5] * 3,
        [-5 + 0.1 * (number % 3) for number in range(60)] + [-4.0],
        [(0.5 + 0.1 * (number % 5)) * (65536 if number < 50 else 131072) for number in range(99)],
        [0.5 + 0.1 * (number % 5) for number in range(60)] + [2.0],
        [0.0 if number % 10 else 0.5 + 0.01 * number for number in range(100)],
        [0.1 * (number % 11) for number in range(60)] + [3.5],
        [5.0, 9.0, 50.0, 5.0],
        [0.5 + 0.1 * (number % 5) for number in range(60)] + [NAN, INF],
    ],
    ids=[
        "first fall",
        "even",
        "first foreground",
        "negative",
        "scaler",
        "tail",
        "rare foreground",
        "wide",
        "few",
        "nan",
    ],
)
def test_no_spike(losses):
    """Each belongs to a sound training, or to another rule."""
    assert not found(Spike(), course(losses))


def test_batch_losses_with_a_long_tail_have_few_spikes():
    """Log-normal with a standard deviation of 1, the batches of one image: below one update in a thousand."""
    noise = random.Random(0)
    losses = [noise.lognormvariate(0, 1) for _ in range(5000)]
    spikes = 0
    for start in range(100, 5000, 10):
        spikes += len(found(Spike(), course(losses[start : start + 10], losses[start - 100 : start])))
    assert spikes <= 5


def test_losses_of_batches_of_one_image_have_no_spikes():
    """Of a standard deviation of 1.5 in logarithms, or spread over three powers of ten; a leap of 10^5 is one."""
    noise = random.Random(0)
    for draw in (
        lambda: noise.lognormvariate(0, 1.5),
        lambda: 10 ** (-3 * noise.random()) * noise.lognormvariate(0, 1),
    ):
        losses = [draw() for _ in range(3000)]
        for start in range(100, 3000, 50):
            assert not found(Spike(), course(losses[start : start + 50], losses[start - 100 : start]))
        assert found(Spike(), course([1e5 * max(losses)], losses[:100]))


def test_batches_without_foreground_do_not_make_the_others_spikes():
    """Nine of ten totals are 0, the others log-normal; where half are 0, a leap is still one."""
    noise = random.Random(0)
    losses = [0.0 if noise.random() < 0.9 else noise.lognormvariate(-2, 0.7) for _ in range(5000)]
    for start in range(100, 5000, 10):
        assert not found(Spike(), course(losses[start : start + 10], losses[start - 100 : start]))
    assert found(Spike(), course([9.0], [number % 2 * (0.5 + 0.01 * (number % 7)) for number in range(100)]))


def test_a_leap_is_measured_by_the_same_window_too():
    """And by those before the window; of both there must be enough."""
    usual = [0.5 + 0.01 * (number % 5) for number in range(20)]
    assert found(Spike(), course([*usual, 9.0], usual))
    assert not found(Spike(), course([*usual, 9.0]))


def test_a_negative_loss_may_leap():
    """By its magnitude."""
    assert found(Spike(), course([20.0], [-5 + 0.1 * (number % 3) for number in range(60)]))


# ---- Plateau


def test_a_loss_that_no_longer_falls_is_a_plateau():
    """Over the whole span, and for information."""
    noise = random.Random(0)
    flat = [0.5 + noise.gauss(0, 0.05) for _ in range(200)]
    (finding,) = found(Plateau(span=200), course(flat[100:], flat[:100]))
    assert finding.severity == "info"
    assert finding.evidence["before"] == pytest.approx(finding.evidence["after"], rel=0.05)


def test_a_fall_is_no_plateau():
    """Nor are too few, nor zeros; a negative loss falls as well."""
    falling = [1 - 0.002 * number for number in range(200)]
    rule = Plateau(span=200)
    assert not found(rule, course(falling))
    assert not found(rule, course([loss - 5 for loss in falling]))
    assert not found(rule, course([0.5] * 199))
    assert not found(rule, course([0.0] * 200))
    assert found(rule, course(falling[::-1]))
    assert not any(isinstance(one, Plateau) for one in default_rules())


# ---- components


def parts(count, **components):
    """Make updates with components that are functions of the update's number."""
    rows = [{name: value(number) for name, value in components.items()} for number in range(count)]
    return [Update(number, sum(row.values()), row, (example(mask()),)) for number, row in enumerate(rows)]


def test_a_component_that_drowns_the_others_dominates():
    """By weighted magnitude; without weights only where the components are the total."""
    updates = parts(10, big=lambda number: 1000.0 + number, small=lambda number: 0.1 + number / 100)
    (finding,) = found(ComponentDominance(), Window(updates))
    assert finding.evidence == {"component": "big", "share": pytest.approx(0.99986, abs=1e-5)}
    assert not found(ComponentDominance(), Window(updates, weights={"big": 1e-3, "small": 1.0}))
    assert not found(ComponentDominance(), Window(updates, weights={"big": 1.0, "small": 0.0}))  # which is only logged
    scaled = [update._replace(loss=65536 * (update.loss or 0)) for update in updates]
    assert not found(ComponentDominance(), Window(scaled))


def test_dice_beside_the_cross_entropy_of_tiny_objects_does_not_dominate():
    """0.4 * 0.5 beside 0.4 * 0.003 and 0.2 * 0.0002 is a share of 0.994."""
    updates = parts(10, bce=lambda _: 0.003, dice=lambda _: 0.5, focal=lambda _: 0.0002)
    assert not found(ComponentDominance(), Window(updates, weights={"bce": 0.4, "dice": 0.4, "focal": 0.2}))
    assert not found(ComponentDominance(), Window(parts(10, bce=lambda number: 0.1 + number)))


def test_a_component_without_gradient_or_change_is_dead():
    """Named, with what shows it."""
    updates = parts(10, dice=lambda number: 0.5 + number / 100, edge=lambda _: 0.25)
    (finding,) = found(DeadComponent(), Window(updates))
    assert finding.evidence == {"component": "edge", "value": 0.25}
    moving = parts(10, dice=lambda number: 0.5 + number / 100, edge=lambda number: number / 7)
    weights = {"dice": 1.0, "edge": 1.0}
    (finding,) = found(DeadComponent(), Window(moving, weights=weights, gradients={"dice": 0.3, "edge": 0.0}))
    assert finding.evidence == {"component": "edge", "gradient_share": 0.0}
    assert not found(DeadComponent(), Window(moving, weights=weights, gradients={"dice": 0.3, "edge": 0.001}))


def test_a_component_that_changes_by_rounding_alone_is_dead():
    """float32 rounds at a ten-millionth of the total."""
    wobbling = parts(10, dice=lambda number: 0.5 + number / 100, edge=lambda number: 6e-8 * (number % 2))
    (finding,) = found(DeadComponent(), Window(wobbling))
    assert finding.evidence["component"] == "edge"


def test_a_component_may_rest():
    """One of weight 0, all of a total of zero, one over empty targets, one that is the whole loss, a constant total."""
    still = parts(10, dice=lambda number: 0.5 + number / 100, edge=lambda _: 0.0)
    weights = {"dice": 1.0, "edge": 0.0}
    assert not found(DeadComponent(), Window(still, weights=weights, gradients={"dice": 0.3, "edge": 0.0}))
    empty = [update._replace(examples=(example(mask(), empty=True),)) for update in still]
    assert not found(DeadComponent(), Window(empty))
    assert not found(DeadComponent(), Window(parts(10, dice=lambda _: 0.0, edge=lambda _: 0.0)))
    assert not found(DeadComponent(), Window(parts(10, dice=lambda _: 0.3, edge=lambda _: 0.2)))
    assert not found(DeadComponent(), Window(parts(10, dice=lambda _: 0.3)))
    assert not found(DeadComponent(), Window(still[:4]))


# ---- EmptyTargets


def test_too_many_empty_targets_are_of_the_data():
    """All of them is an error."""
    (finding,) = found(EmptyTargets(), window(*[example(mask(), empty=True, sample_id="s")] * 100))
    assert (finding.severity, finding.kind) == ("error", "data")
    assert finding.evidence == {"empty": 100, "examples": 100}
    (finding,) = found(EmptyTargets(), window(*[example(empty=True)] * 395, *[example(empty=False)] * 5))
    assert finding.severity == "warning"


def test_mostly_empty_targets_are_common():
    """Nine in ten; all of a few; 95 of 100, which may be nine in ten; those that are ignored or not given."""
    rule = EmptyTargets()
    assert not found(rule, window(*[example(empty=True)] * 360, *[example(empty=False)] * 40))
    assert not found(rule, window(*[example(empty=True)] * 72))
    assert found(rule, window(*[example(empty=True)] * 73))
    assert not found(rule, window(*[example(empty=True)] * 95, *[example(empty=False)] * 5))
    assert not found(rule, window(*[example(empty=None)] * 400))


def test_batches_of_one_image_are_judged_with_the_last_400():
    """98 % of empty masks need more than 73 to be certain of; nine in ten are never reported, though a run is long."""
    empty, filled = (Update(1, 0.5, {}, (example(empty=how),)) for how in (True, False))
    assert found(EmptyTargets(), Window([empty] * 50, before=[empty] * 23))
    assert not found(EmptyTargets(), Window([empty] * 50, before=[empty] * 22))
    (finding,) = found(EmptyTargets(), Window([empty] * 49 + [filled], before=([empty] * 49 + [filled]) * 7))
    assert (finding.severity, finding.evidence) == ("warning", {"empty": 392, "examples": 400})
    assert not found(EmptyTargets(), Window([empty] * 50, before=[filled] * 50 + [empty] * 200))
    assert not found(EmptyTargets(), Window([Update(1, 0.5)], before=[empty] * 400))


# ---- IgnoredTargets


def test_targets_that_are_ignored_throughout_are_an_error_of_the_data():
    """All of them, and nearly all; not nine in ten, nor few."""
    ignored = example(mask(valid=0.0, wrong=0.0), loss=0.0, empty=None, sample_id="s")
    (finding,) = found(IgnoredTargets(), window(*[ignored] * 100))
    assert (finding.severity, finding.kind, finding.sample_ids) == ("error", "data", ("s",))
    assert finding.evidence == {"ignored": 100, "examples": 100}
    assert "check ignore_index" in finding.hint
    (finding,) = found(IgnoredTargets(), window(*[ignored] * 395, *[example(mask())] * 5))
    assert finding.severity == "warning"
    assert not found(IgnoredTargets(), window(*[ignored] * 360, *[example(mask())] * 40))
    assert not found(IgnoredTargets(), window(*[ignored] * 72))
    assert not found(IgnoredTargets(), window(*[example(mask(valid=0.01))] * 400))
    assert not found(IgnoredTargets(), window(*[example(loss=0.0, empty=None)] * 400))  # without any target


# ---- FullTargets


def test_targets_that_are_foreground_throughout_are_an_error_of_the_data():
    """Of all masks of an example; not nine in ten, nor one mask of two, nor masks of 0 and 255."""
    full, well = example(mask(0.9, 1.0)), example(mask())
    (finding,) = found(FullTargets(), window(*[full] * 100))
    assert (finding.severity, finding.kind) == ("error", "data")
    assert finding.evidence == {"full": 100, "examples": 100}
    assert "read as the mask" in finding.hint
    assert found(FullTargets(), window(*[full] * 395, *[well] * 5))
    assert not found(FullTargets(), window(*[full] * 360, *[well] * 40))
    assert not found(FullTargets(), window(*[example(mask(0.9, 1.0), mask())] * 100))
    assert not found(FullTargets(), window(*[full._replace(values=(0.0, 255.0))] * 100))
    assert not found(FullTargets(), window(*[example(mask(0.9, 1.0, valid=0.0), empty=None)] * 100))


# ---- ConstantTargets


def test_the_same_target_for_every_image_is_a_warning():
    """Of a hundred examples; one other, or few, or empty and full ones are no finding."""
    same = example(mask(0.3, 0.2), mask(0.3, 0.1))
    (finding,) = found(ConstantTargets(), window(*[same] * 100))
    assert (finding.severity, finding.kind) == ("warning", "data")
    assert finding.evidence == {"examples": 100, "target": 0.2}
    assert "every image has the same target" in finding.hint
    assert not found(ConstantTargets(), window(*[same] * 99))
    assert not found(ConstantTargets(), window(*[same] * 99, example(mask(0.3, 0.2), mask(0.3, 0.11))))
    for target in (0.0, 1.0):
        assert not found(ConstantTargets(), window(*[example(mask(0.3, target))] * 100))
    before = [Update(1, 0.5, {}, (same,))] * 60
    assert found(ConstantTargets(), Window([Update(1, 0.5, {}, (same,))] * 40, before=before))


# ---- windows that are too small


def test_a_window_with_few_examples_is_judged_with_those_before_it():
    """As many as the rule needs, the last ones; a window without any has no verdict."""
    lost, well = Update(1, 0.5, {}, (example(mask(0.001, 0.3)),)), Update(1, 0.5, {}, (example(mask(0.3, 0.3)),))
    assert not found(Collapse(), Window([lost], before=[lost] * 2))
    (finding,) = found(Collapse(), Window([lost], before=[well] * 9 + [lost] * 3))
    assert finding.evidence["examples"] == 4
    assert not found(Collapse(), Window([lost], before=[lost] * 9 + [well] * 3))
    empty = Update(1, 0.5, {}, (example(mask(0.0, 0.0, foreground=0.0), empty=True),))
    assert not [key for key in Collapse().check(Window([empty], before=[lost] * 9)) if key.startswith("zeros")]
    even = Update(1, 0.5, {}, (example(mask(spread=0.0)),))
    assert found(ConstantPrediction(), Window([even], before=[even] * 3))
    stuck = Update(1, 0.5, {}, (example(mask(wrong=0.3, stuck=0.3)),))
    assert found(Saturation(), Window([stuck], before=[stuck] * 3))
    still = parts(8, dice=lambda number: 0.5 + number / 100, edge=lambda _: 0.25)
    assert found(DeadComponent(), Window(still[7:], before=still[:7]))


# ---- debouncing


def test_k_of_n_judged_windows_and_a_cooldown():
    """Two of three; then silence for two windows; windows without a verdict do not count."""
    finding = Finding("warning", {}, "")
    debounce = Debounce(Collapse(needed=2, of=3, cooldown=2))
    same = {"zeros 0": finding}
    well: dict = {"zeros 0": None}
    windows = [same, well, well, same, {}, same, same, same, same, well, well]
    counts = [len(debounce.findings(verdicts)) for verdicts in windows]
    assert counts == [0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]


def test_a_higher_severity_breaks_the_silence():
    """And each key has its own silence."""
    debounce = Debounce(EmptyTargets(needed=1, of=1, cooldown=10))
    warning, error = Finding("warning", {}, ""), Finding("error", {}, "")
    assert debounce.findings({"": warning}) == [warning]
    assert debounce.findings({"": warning}) == []
    assert debounce.findings({"": error, "other": warning}) == [error, warning]
    assert debounce.findings({"": error, "other": warning}) == []


def lasting(levels, *, updates=50, patience=200):
    """Return the number of findings of each window of a course of levels; None is a window in which all is well."""
    debounce = Debounce(Collapse())
    findings = [None if level is None else Finding("error", {}, "", patience=patience, level=level) for level in levels]
    return [len(debounce.findings({"zeros 0": finding}, updates)) for finding in findings]


def test_what_must_last_is_told_after_its_updates_and_not_while_it_recovers():
    """200 updates are four windows of 50, two hundred of one, and two of 500; a window without it starts again."""
    assert lasting([0.1] * 5) == [0, 0, 0, 1, 0]
    assert sum(lasting([0.1] * 199, updates=1)) == 0
    assert lasting([0.1] * 200, updates=1)[-1] == 1
    assert lasting([0.1] * 2, updates=500) == [0, 1]
    assert lasting([0.1, 0.1, 0.1, None, 0.1, 0.1, 0.1, 0.1]) == [0] * 7 + [1]
    assert lasting([0.1, 0.12, 0.15, 0.2, 0.26, 0.35]) == [0] * 6  # rising, as in a warm-up
    assert lasting([0.1, 0.12, 0.15, 0.2, 0.2, 0.2]) == [0] * 5 + [1]  # and then no more
    assert lasting([0.4, 0.2, 0.1, 0.05]) == [0, 0, 0, 1]


def test_a_finding_that_is_certain_is_told_at_once_within_one_that_must_last():
    """Two windows of it, after any others."""
    slow, certain = Finding("error", {}, "", patience=200, level=0.1), Finding("error", {}, "")
    debounce = Debounce(Collapse())
    counts = [len(debounce.findings({"zeros 0": one}, 50)) for one in (slow, certain, certain, certain, slow)]
    assert counts == [0, 0, 1, 0, 0]


# ---- thresholds


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Collapse(low=0), r"Collapse requires 0 < low <= 1, got low=0"),
        (lambda: Collapse(share=1.5), r"Collapse requires 0 < share <= 1, got share=1\.5"),
        (lambda: Collapse(needed=4), r"Collapse requires 1 <= needed <= of, got needed=4, of=3"),
        (lambda: NonFinite(cooldown=-1), r"NonFinite requires cooldown >= 0, got cooldown=-1"),
        (
            lambda: NonFinite(action="shout"),
            r"NonFinite requires action to be 'warn', 'raise', 'stop', a callable of the event",
        ),
        (lambda: Spike(least=1), r"Spike requires 2 <= least <= span, got least=1, span=100"),
        (lambda: Spike(deviations=-1), r"Spike requires deviations >= 0, got deviations=-1"),
        (lambda: Plateau(span=3), r"Plateau requires span >= 4, got span=3"),
        (lambda: Collapse(low="0.1"), r"Collapse requires low to be a number, got low='0\.1'"),
        (lambda: Collapse(needed=1.5), r"Collapse requires needed to be an integer, got needed=1\.5"),
        (lambda: Collapse(target=NAN), r"Collapse requires target to be a number, got target=nan"),
        (lambda: ConstantPrediction(examples=0), r"ConstantPrediction requires examples >= 1, got examples=0"),
        (lambda: DeadComponent(updates=1), r"DeadComponent requires updates >= 2, got updates=1"),
        (lambda: Spike(factor=0.5), r"Spike requires factor >= 1, got factor=0\.5"),
    ],
)
def test_thresholds_are_checked(make, message):
    """When the rule is made."""
    with pytest.raises(lossreg.InputError, match=message):
        make()
