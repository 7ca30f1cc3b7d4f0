"""The numbers of the last window, and the check of one batch: each against plain arithmetic."""

import logging

import pytest
import torch
from torch import nn

import lossreg
from lossreg.health import LossMonitor, Snapshot, check

LOSS = torch.tensor(0.5)


def quiet(**options):
    return LossMonitor(**{"sinks": [], "action": lambda event: None, "every": 2, **options})


def batch(logit=1.0, foreground=0.25):
    """Make two examples, the second one empty, of one logit."""
    target = torch.zeros(2, 1, 4, 4)
    target[0].view(-1)[: int(16 * foreground)] = 1
    return torch.full((2, 1, 4, 4), logit) + torch.linspace(-0.01, 0.01, 16).view(4, 4), target


def test_a_snapshot_has_the_means_of_the_last_window():
    """Of both updates and both examples; before the first window nothing is known."""
    monitor = quiet()
    assert monitor.snapshot() == Snapshot()
    assert monitor.snapshot().as_dict() == {}
    for logit, loss in ((2.0, 0.4), (-2.0, 0.6)):
        logits, target = batch(logit)
        monitor.update(torch.tensor(loss), prediction=logits, target=target, step=int(10 * loss))
    taken = monitor.snapshot()
    assert taken.step == 6
    assert taken.as_dict() == pytest.approx(
        {
            "loss": 0.5,
            "pred_mean": 0.5,
            "target_mean": 0.125,
            "pred_foreground": 0.5,
            "target_foreground": 0.125,
            "empty": 0.5,
        },
        rel=1e-5,
    )
    assert monitor.snapshot() is taken  # until the next window
    monitor.update(LOSS, prediction=logits, target=target)
    assert monitor.snapshot() is taken
    monitor.update(LOSS, prediction=logits, target=target)
    assert monitor.snapshot().pred_mean == pytest.approx(0.1192, abs=1e-4)  # sigmoid(-2)


def test_of_classes_all_but_the_first_are_foreground():
    """Three classes with logits 0, log 2 and log 5: 1/8, 2/8 and 5/8; one target of four is class 0."""
    monitor = quiet()
    logits = torch.tensor([1.0, 2.0, 5.0]).log().view(1, 3, 1, 1).expand(2, 3, 2, 2)
    target = torch.tensor([[[0, 1], [2, 2]]] * 2)
    for _ in range(2):
        monitor.update(LOSS, prediction=logits, target=target)
    numbers = monitor.snapshot().as_dict()
    expected = {"pred_mean": 7 / 8, "target_mean": 3 / 4, "pred_foreground": 1.0, "target_foreground": 3 / 4}
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)


def test_the_shares_of_components_are_weighted():
    """Magnitudes 0.4 * 0.5 and 0.1 * 3, known through loss=; one alone is the whole and no share."""

    class Two(lossreg.Loss):
        def terms(self, input, target):
            values = (input * target).flatten(1).mean(1)
            return {
                "first": lossreg.Term(0 * values + 0.5, per="example", weight=0.4),
                "second": lossreg.Term(0 * values + 3.0, per="example", weight=0.1),
            }

    logits, target = batch()
    for loss, first in ((Two(), 0.4), (None, 0.5 / 3.5)):
        monitor = quiet(loss=loss)
        for _ in range(2):
            monitor.update(lossreg.evaluate(Two(), logits, target), prediction=logits, target=target)
        assert monitor.snapshot().components == pytest.approx({"first": first, "second": 1 - first})
        assert monitor.snapshot().as_dict("health/")["health/share_first"] == pytest.approx(first)
    monitor = quiet(every=1)
    monitor.update(lossreg.evaluate(lossreg.build("dice"), logits, target))
    assert monitor.snapshot().components == {}


def test_what_was_not_given_is_not_known():
    """A loss alone; a prediction alone; a target alone; a regression, whose values are no probabilities."""
    logits, target = batch(0.0)
    noise = torch.randn(2, 1, 4, 4) * 9
    given = ({}, {"prediction": logits}, {"target": target}, {"prediction": logits, "target": noise})
    names = []
    for tensors in given:
        monitor = quiet(every=1)
        monitor.update(LOSS, **tensors)
        names.append(set(monitor.snapshot().as_dict()))
    assert names == [{"loss"}, {"loss", "pred_mean", "pred_foreground"}, {"loss", "empty"}, {"loss", "empty"}]


# ---- one batch


def test_a_batch_whose_prediction_is_far_below_the_target_is_told():
    """A mean of 0.0067 beside 0.25 in the example with foreground; the text has both means and the remedy."""
    logits, target = batch(-5.0)
    for output in (lossreg.build("bce"), nn.BCEWithLogitsLoss(), nn.BCEWithLogitsLoss()(logits, target)):
        found = check(output, logits, target, sample_ids=["a", "b"], step=50)
        assert not found.ok
        assert [(event.rule, event.severity, event.step) for event in found.events] == [("Collapse", "error", 50)]
        assert found.events[0].sample_ids == ("a",)
        assert "pred_mean 0.006693, target_mean 0.125" in str(found)
        assert "the model predicts no foreground where the target has it" in str(found)


def test_a_new_network_and_a_right_one_are_fine():
    """0.5 everywhere with some variation is where networks begin."""
    torch.manual_seed(0)
    target = (torch.rand(8, 1, 8, 8) > 0.8).float()
    for logits in (0.1 * torch.randn(8, 1, 8, 8), 8 * target - 4):
        found = check(lossreg.build("bce_dice_focal"), logits, target)
        assert found.ok
        assert found.events == ()
        assert found.snapshot.target_mean == pytest.approx(float(target.mean()))


def test_empty_and_ignored_batches_are_told():
    """Though a batch is too small to say so of the data."""
    logits, target = torch.randn(8, 1, 4, 4), torch.zeros(8, 1, 4, 4)
    assert [event.rule for event in check(LOSS, logits, target).events] == ["EmptyTargets"]
    assert [event.rule for event in check(LOSS, logits, target + 255, ignore_index=255).events] == ["IgnoredTargets"]
    assert [event.rule for event in check(LOSS, logits, target + 1).events] == ["FullTargets"]
    assert check(LOSS, logits, target).snapshot.empty == 1


def test_probabilities_and_wrong_arguments():
    """activation="none"; an empty batch has nothing to check."""
    _, target = batch()
    probabilities = torch.linspace(0.001, 0.003, 32).view(2, 1, 4, 4)
    assert [event.rule for event in check(LOSS, probabilities, target, activation="none").events] == ["Collapse"]
    with pytest.raises(lossreg.InputError, match="the batch is empty: check one with examples and pixels"):
        check(LOSS, torch.zeros(0, 1, 4, 4), torch.zeros(0, 1, 4, 4))


def test_the_random_numbers_and_the_gradients_are_left_alone():
    """A loss that draws points is evaluated for the check alone."""
    state = torch.get_rng_state()
    logits = torch.zeros(2, 1, 8, 8, requires_grad=True)
    check(lossreg.build({"name": "point_sampled", "params": {"loss": "bce"}}), logits, torch.ones(2, 1, 8, 8))
    assert logits.grad is None
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_go_to_a_progress_bar_and_a_logger(caplog):
    """As keyword arguments of a bar, and as a mapping of names with a prefix."""
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed, so there is no progress bar to show them in")
    monitor = quiet(every=1)
    logits, target = batch()
    with tqdm.tqdm(total=1, disable=None) as bar, caplog.at_level(logging.INFO):
        monitor.update(LOSS, prediction=logits, target=target)
        bar.set_postfix(monitor.snapshot().as_dict())
        logging.getLogger("training").info("%s", monitor.snapshot().as_dict("health/"))
    assert "'health/pred_mean': 0.731" in caplog.text
