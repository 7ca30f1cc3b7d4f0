"""The statistics: each against plain arithmetic, for every form of prediction and target."""

import math

import pytest
import torch

import lossreg
from lossreg import DTypeError, InputError, LossOutput, ShapeError
from lossreg.health import HealthWarning, statistics
from lossreg.health.device_statistics import Reader

GENERATOR = torch.Generator().manual_seed(0)


def read(output, prediction=None, target=None, sample_ids=None, *, activation="auto", ignore_index=None):
    """Return one update as numbers."""
    reader = Reader(activation, ignore_index, None)
    found = reader.read(output, prediction, target, 5, sample_ids, with_gradients=False)
    return found.update([] if found.values is None else found.values.tolist())


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def plain(probabilities, targets):
    """Compute the statistics of one mask by hand, from lists over its valid pixels."""
    count = len(probabilities)
    mean = math.fsum(probabilities) / count
    off = [abs(p - t) for p, t in zip(probabilities, targets, strict=True)]
    return {
        "predicted": mean,
        "spread": math.sqrt(math.fsum((p - mean) ** 2 for p in probabilities) / count),
        "target": math.fsum(targets) / count,
        "positive": sum(p > 0.5 for p in probabilities) / count,
        "foreground": sum(t > 0.5 for t in targets) / count,
        "wrong": sum(value > 0.5 for value in off) / count,
        "stuck": sum(value > 0.9999 for value in off) / count,
    }


def assert_is(mask, expected):
    found = mask._asdict()
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-6)


LOSS = torch.tensor(0.5)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
@pytest.mark.parametrize("channel", [True, False])
def test_one_mask(dtype, channel):
    """With a channel or without, of any type."""
    logits = 6 * torch.randn(3, 1, 4, 5, generator=GENERATOR)
    logits[0, 0, 0, 0] = -30
    target = torch.rand(3, 1, 4, 5, generator=GENERATOR) > 0.4
    target[0, 0, 0, 0] = True
    target[2] = False
    update = read(LOSS, logits, (target if channel else target[:, 0]).to(dtype))
    for example, row, mask in zip(update.examples, logits, target, strict=True):
        (found,) = example.masks
        assert_is(found, plain([sigmoid(x) for x in row.flatten().tolist()], mask.flatten().float().tolist()))
        assert (found.valid, found.lowest, found.highest) == (1, pytest.approx(row.min()), pytest.approx(row.max()))
    assert [example.empty for example in update.examples] == [False, False, True]
    assert update.examples[0].masks[0].stuck >= 0.05  # the one of -30


def test_several_masks_and_soft_targets():
    """(B, C, H, W) is C masks, each with a sigmoid of its own; targets may lie between 0 and 1."""
    logits, target = (torch.randn(2, 3, 4, 4, generator=GENERATOR) for _ in range(2))
    target = target.sigmoid()
    update = read(LOSS, logits, target)
    for number, example in enumerate(update.examples):
        for channel, mask in enumerate(example.masks):
            soft = target[number, channel].flatten().tolist()
            assert_is(mask, plain([sigmoid(x) for x in logits[number, channel].flatten().tolist()], soft))


@pytest.mark.parametrize("form", ["indices", "indices with a channel", "one-hot"])
def test_classes(form):
    """A softmax, and one mask per class; an image of class 0 alone is empty."""
    logits = torch.randn(2, 3, 4, 4, generator=GENERATOR)
    indices = torch.randint(3, (2, 4, 4), generator=GENERATOR)
    indices[1] = 0
    one_hot = torch.nn.functional.one_hot(indices, 3).movedim(-1, 1)
    target = {"indices": indices, "indices with a channel": indices[:, None], "one-hot": one_hot}[form]
    update = read(LOSS, logits, target, activation="softmax" if form == "one-hot" else "auto")
    probabilities = logits.double().exp() / logits.double().exp().sum(1, keepdim=True)
    for number, example in enumerate(update.examples):
        for channel, mask in enumerate(example.masks):
            hard = one_hot[number, channel].flatten().tolist()
            assert_is(mask, plain(probabilities[number, channel].flatten().tolist(), hard))
    assert [example.empty for example in update.examples] == [False, True]


def test_ignored_pixels_count_nowhere():
    """Not even a NaN of the prediction counts there, except in its range. All ignored is neither empty nor filled."""
    logits = torch.randn(3, 1, 2, 2, generator=GENERATOR)
    target = torch.tensor([[1, 0, 255, 1], [255, 0, 0, 255], [255, 255, 255, 255]]).view(3, 1, 2, 2)
    logits[0, 0, 1, 0] = torch.nan
    update = read(LOSS, logits, target, ignore_index=255)
    flat = logits.flatten(1).tolist()
    first, second, third = (example.masks[0] for example in update.examples)
    assert_is(first, {"valid": 0.75, **plain([sigmoid(flat[0][n]) for n in (0, 1, 3)], [1, 0, 1])})
    assert_is(second, {"valid": 0.5, **plain([sigmoid(flat[1][n]) for n in (1, 2)], [0, 0])})
    assert (third.valid, third.wrong) == (0, 0)
    assert [example.empty for example in update.examples] == [False, True, None]


def test_ignored_pixels_of_class_indices():
    """Even an index that is no class."""
    logits = torch.randn(1, 3, 2, 2, generator=GENERATOR)
    update = read(LOSS, logits, torch.tensor([[[2, -100], [0, 2]]]), ignore_index=-100)
    assert [mask.valid for mask in update.examples[0].masks] == [0.75] * 3
    assert [mask.target for mask in update.examples[0].masks] == pytest.approx([1 / 3, 0, 2 / 3])


def test_class_indices_that_are_no_class_do_not_count():
    """255 or -100, which the loss ignores and the monitor has no ignore_index for: neither foreground nor wrong."""
    logits = torch.randn(2, 3, 2, 2, generator=GENERATOR)
    target = torch.tensor([[[2, -100], [0, 255]], [[0, 255], [255, 0]]])
    for ignore_index in (None, 255):
        update = read(LOSS, logits, target, ignore_index=ignore_index)
        assert [mask.valid for example in update.examples for mask in example.masks] == [0.5] * 6
        assert [mask.target for mask in update.examples[0].masks] == pytest.approx([0.5, 0, 0.5])
        assert [example.empty for example in update.examples] == [False, True]


def test_every_nth_example_of_many_masks_is_read():
    """At most 512 masks, and the emptiness of every example; no mask of a vocabulary."""
    target = torch.zeros(5, 200, dtype=torch.long)
    target[3] = 7
    update = read(LOSS, torch.randn(5, 200, 200), target)
    assert [len(example.masks) for example in update.examples] == [200, 0, 200, 0, 200]
    assert [example.empty for example in update.examples] == [True, True, True, False, True]
    assert update.examples[4].masks[0].target == 1
    words = read(LOSS, torch.randn(2, 5000), torch.tensor([1, 0]))
    assert [example.empty for example in words.examples] == [False, True]
    assert all(mask.predicted is None for example in words.examples for mask in example.masks)


def test_probabilities_are_taken_as_they_are():
    """activation="none"; an explicit sigmoid or softmax is taken likewise."""
    given = torch.tensor([[[[0.2, 0.4]]]])
    assert read(LOSS, given, activation="none").examples[0].masks[0].predicted == pytest.approx(0.3)
    both = torch.tensor([[[[1.0]], [[3.0]]]])
    sums = {
        how: sum(mask.predicted for mask in read(LOSS, both, activation=how).examples[0].masks)
        for how in ("auto", "sigmoid", "softmax")
    }
    assert sums == pytest.approx({"auto": sigmoid(1) + sigmoid(3), "sigmoid": sigmoid(1) + sigmoid(3), "softmax": 1})


def test_a_prediction_without_pixels_is_one_pixel():
    """Classification: (B, C) and (B,)."""
    update = read(LOSS, torch.tensor([[0.0, 2.0]]), torch.tensor([1]))
    assert [mask.target for mask in update.examples[0].masks] == [0, 1]
    assert update.examples[0].masks[1].predicted == pytest.approx(sigmoid(2.0))
    assert update.examples[0].masks[1].spread == 0


def test_a_target_alone_says_whether_it_is_empty():
    """And how much of it is valid."""
    update = read(LOSS, None, torch.tensor([[[0, 1]], [[0, 0]], [[255, 0]], [[255, 255]]]), ignore_index=255)
    assert [example.empty for example in update.examples] == [False, True, True, None]
    assert [example.masks[0].valid for example in update.examples] == [1, 1, 0.5, 0]
    assert update.examples[0].masks[0].predicted is None


def test_a_prediction_alone_is_described():
    """Without anything of the target."""
    (example,) = read(LOSS, torch.zeros(1, 1, 2, 2)).examples
    assert example.empty is None
    assert example.masks[0][:6] == (1, 0.5, 0, 0, 0, 0)
    assert example.masks[0][6:] == (None,) * 4


def test_large_predictions_are_read_at_every_nth_pixel(monkeypatch):
    """The emptiness of a target at every pixel, so that one alone is found."""
    monkeypatch.setattr(statistics, "MOST_VALUES", 100)
    logits = torch.zeros(1, 1, 20, 20)
    logits[..., ::2, ::2] = 2.0
    target = torch.zeros(1, 1, 20, 20)
    target[..., 1, 1] = 1
    (example,) = read(LOSS, logits, target).examples
    assert example.masks[0].predicted == pytest.approx(sigmoid(2.0))
    assert example.masks[0].foreground == 0
    assert example.empty is False


# ---- outputs


def test_the_output_is_a_loss_output_or_a_tensor():
    """With its components and losses per example."""
    total, parts = torch.tensor(0.5, requires_grad=True), {"dice": torch.tensor(0.2), "bce": torch.tensor(0.3)}
    update = read(LossOutput(total * 1, parts, torch.tensor([0.25, 0.75])), sample_ids=["a", 7])
    assert (update.step, update.loss) == (5, 0.5)
    assert update.components == pytest.approx({"dice": 0.2, "bce": 0.3})
    assert [(one.loss, one.sample_id) for one in update.examples] == [(0.25, "a"), (0.75, "7")]
    assert [one.loss for one in read(LossOutput(total, {}, None), sample_ids=["a"]).examples] == [None]
    update = read(torch.tensor([1.0, 3.0]))
    assert (update.loss, [one.loss for one in update.examples]) == (2, [1, 3])
    assert read(torch.tensor(2, dtype=torch.int64)).loss == 2
    assert read(torch.tensor(1e300, dtype=torch.float64)).loss == 1e300


@pytest.mark.parametrize(
    "given",
    [
        (torch.tensor([]),),
        (torch.tensor(torch.nan), torch.zeros(0, 1, 4, 4), torch.zeros(0, 1, 4, 4)),
        (torch.tensor(torch.nan), torch.zeros(2, 1, 0, 4), torch.zeros(2, 1, 0, 4)),
        (torch.tensor(torch.nan), None, None, []),
    ],
    ids=["losses", "prediction", "pixels", "ids"],
)
def test_an_empty_batch_has_no_loss(given):
    """Its loss is the mean of no values, NaN, and no fault."""
    update = read(*given)
    assert (update.loss, update.examples) == (None, ())


IMAGES = torch.zeros(2, 1, 4, 4)


@pytest.mark.parametrize(
    "given, error, message",
    [
        (("loss",), InputError, r"output must be a LossOutput, a 0-dim tensor or a tensor of shape \(B,\), got str"),
        ((torch.zeros(2, 3),), InputError, r"got a tensor of shape \(2, 3\)"),
        ((LOSS, [1]), InputError, "prediction must be a tensor whose first axis is the examples, got list"),
        ((LOSS, None, torch.tensor(1)), InputError, r"target must be a tensor whose first axis .* got shape \(\)"),
        ((LOSS, torch.zeros(4)), ShapeError, r"\(B, C, \*\), got torch.float32 \(4,\); give a single mask a channel"),
        ((LOSS, IMAGES.long()), ShapeError, "prediction must be floating point"),
        ((torch.zeros(3), IMAGES), ShapeError, "different numbers of examples: losses 3, prediction 2"),
        ((LOSS, IMAGES, IMAGES[:1]), ShapeError, "different numbers of examples: prediction 2, target 1"),
        ((LOSS, IMAGES, IMAGES, ["a"]), ShapeError, "prediction 2, target 2, sample_ids 1"),
        ((LOSS, IMAGES, IMAGES[..., :2]), ShapeError, r"must have that shape or \(2, 4, 4\), got \(2, 1, 4, 2\)"),
        ((LOSS, torch.zeros(2, 3, 4, 4), IMAGES[:, 0]), DTypeError, "3 classes must hold class indices, integers, got"),
        ((LOSS, IMAGES, None, 5), InputError, "one id per example, got 5"),
        ((LOSS, IMAGES, None, [torch.tensor(1)] * 2), InputError, r"got tensors in a list; pass one tensor of shape"),
        ((LOSS, IMAGES, None, "ab"), InputError, "one id per example, got the text 'ab'"),
        ((LOSS, IMAGES, None, torch.zeros(2, 1)), InputError, r"of shape \(B,\) on the CPU, got shape \(2, 1\) on cpu"),
        ((LOSS, IMAGES.to("meta")), InputError, "prediction is on meta and the loss on cpu; move both to one device"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given, error, message):
    """With the value, the allowed ones, and the remedy."""
    with pytest.raises(error, match=message):
        read(*given)


def test_no_graph_is_kept():
    """Nor is requires_grad changed."""
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    output = lossreg.evaluate(lossreg.build("dice"), logits, torch.ones(2, 1, 4, 4))
    found = Reader("auto", None, lossreg.build("dice")).read(
        output, logits, torch.ones(2, 1, 4, 4), 1, None, with_gradients=True
    )
    assert found.values is not None
    assert not found.values.requires_grad
    assert logits.requires_grad
    assert logits.grad is None
    assert output.total.requires_grad


# ---- gradients of components


def weights_and_gradients(loss, logits, target):
    found = Reader("auto", None, loss).read(LOSS, logits, target, 9, None, with_gradients=True)
    assert found.values is not None
    return found.gradients(found.values.tolist())


def test_each_component_is_differentiated():
    """Weights as configured; the gradient of the cross-entropy is that of (p - t) / n."""
    loss = lossreg.build("bce_dice_focal")
    logits, target = torch.randn(2, 1, 4, 4, generator=GENERATOR), torch.ones(2, 1, 4, 4)
    weights, gradients = weights_and_gradients(loss, logits, target)
    assert weights == pytest.approx({"bce": 0.4, "dice": 0.4, "focal": 0.2})
    expected = math.sqrt(sum((sigmoid(x) - 1) ** 2 for x in logits.flatten().tolist())) / 32
    assert gradients["bce"] == pytest.approx(0.4 * expected, rel=1e-4)


def test_the_gradients_leave_the_training_alone():
    """Random numbers, gradients, and inference tensors; a loss that follows the step is given it."""
    loss = lossreg.build({"name": "point_sampled", "params": {"loss": "bce"}})
    state = torch.get_rng_state()
    with torch.inference_mode():
        _, gradients = weights_and_gradients(loss, torch.randn(2, 1, 8, 8, generator=GENERATOR), torch.ones(2, 1, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(norm > 0 for norm in gradients.values())
    term = {"name": "dice", "points": [[0, 1.0], [18, 3.0]]}
    scheduled = lossreg.build({"name": "scheduled", "params": {"terms": [term]}})
    weights, _ = weights_and_gradients(scheduled, torch.randn(2, 1, 8, 8, generator=GENERATOR), torch.ones(2, 1, 8, 8))
    assert list(weights.values()) == pytest.approx([2.0])


def test_a_loss_that_takes_more_is_not_differentiated():
    """One warning, and the statistics all the same."""

    class Weighted(lossreg.Loss):
        def terms(self, input, target, weight):
            raise AssertionError("never called")

    one = Reader("auto", None, Weighted())
    with pytest.warns(
        HealthWarning,
        match=r"not differentiated, because its terms\(prediction, target\) raised TypeError: .*; leave out loss=",
    ):
        found = one.read(LOSS, IMAGES, IMAGES, 1, None, with_gradients=True)
    assert not found.differentiated
    again = one.read(LOSS, IMAGES, IMAGES, 1, None, with_gradients=True)  # and no second warning
    assert not again.differentiated
