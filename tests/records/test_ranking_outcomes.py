"""Rankings find planted examples, and tell where they cannot help."""

import numpy as np
import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.records import Filters, rank_examples

NAMES = 1000


def training(seed, epochs, *, bad=60, fall=1 / 30, noise=0.2, condition=None, batch=20):
    """Losses that fall from batch to batch, twice as high for the first 60 names; with noise, at a random condition."""
    rng = np.random.default_rng(seed)
    names = np.concatenate([rng.permutation(NAMES) for _ in range(epochs)])
    step = np.arange(len(names)) // batch
    t = rng.random(len(names))
    loss = (1 + (names < bad)) * np.exp(-step * fall) * np.exp(noise * rng.standard_normal(len(names)))
    if condition is not None:
        loss *= np.exp(-condition * t)
    rows = {"sample_id": [f"{name}" for name in names], "epoch": np.arange(len(names)) // NAMES, "step": step}
    rows |= {"loss": loss, "run": [f"seed {seed}"] * len(names)}
    return rows if condition is None else rows | {"condition": t}


def together(*runs):
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def found_among(examples, number=60):
    return sum(int(one.sample_id) < 60 for one in examples[:number])


def test_where_no_example_differs_none_is_named():
    """Five trainings with falling losses and noise of fat tails, and no example that is harder: 0 are sure."""
    runs = [training(seed, 8, bad=0, noise=1.5) for seed in range(5)]
    found = rank_examples(together(*runs), top_k=0)
    assert (found.total, found.sure) == (5 * NAMES, 0)
    assert found.reliability < 0.1


def test_bad_examples_are_found_in_one_epoch():
    """The mean finds those that came early; the ranking those that are bad: more than twice as many."""
    found = rank_examples(training(0, 1), top_k=NAMES)
    by_mean = sorted(found.examples, key=lambda one: -one.mean)
    assert found_among(by_mean) <= 22
    assert found_among(found.examples) >= 50
    assert {one.verdict for one in found.examples} == {"", "high, but not seen enough"}


@pytest.mark.tools
def test_the_condition_is_worth_more_than_the_statistic():
    """The loss is up to 400 times lower at other conditions: recorded, three times as many are found."""
    rows = training(0, 4, condition=6, fall=0, noise=0.3)
    without = rank_examples({name: values for name, values in rows.items() if name != "condition"})
    found = rank_examples(rows)
    assert found_among(without.examples) <= 20
    assert found_among(found.examples) >= 55
    assert found.reliability > 0.4
    assert without.reliability < 0.1
    assert "record that as `condition`" in without.note
    assert found.note == ""


@pytest.mark.tools
def test_few_rows_with_a_condition_are_compared_within_their_time():
    """1,000 rows have bins of the condition and one window. Losses fall to a 28th, in 20 data sets of 50 rows each."""
    rows = training(0, 1, condition=4, fall=1 / 15)
    rows["dataset"] = [str(int(name) % 20) for name in rows["sample_id"]]
    found = rank_examples(rows, top_k=NAMES)
    assert found_among(found.examples) >= 25
    assert found_among(sorted(found.examples, key=lambda one: -one.mean)) <= 10


@pytest.mark.tools
def test_the_named_are_bad():
    """After ten epochs some are sure, and all of these are bad."""
    found = rank_examples(training(0, 10, bad=40, fall=0), top_k=NAMES)
    sure = [one for one in found.examples if one.verdict == "surely among the hardest 5 %"]
    assert len(sure) == found.sure >= 20
    assert all(int(one.sample_id) < 40 for one in sure)


@pytest.mark.tools
def test_a_low_reliability_says_what_to_do():
    """With a condition recorded: a pass with draws, or so many looks; the looks are those that reach 0.8."""
    rows = training(3, 5, condition=1, noise=0.8, fall=0)
    group = rank_examples(rows).groups[0]
    assert group.reliability < 0.3
    assert group.note.startswith(f"reliability {group.reliability:.2f}: the order is mostly chance; rank a run_dataset")
    assert group.note.endswith(f"or see each example about {group.looks_needed} times")
    more = rank_examples(training(3, group.looks_needed, condition=1, noise=0.8, fall=0))
    assert more.reliability == pytest.approx(0.8, abs=0.05)


def test_examples_that_are_known_by_heart():
    """From epoch 4 on losses hardly differ: the note names the epoch, and following it gives a note no more."""
    rows = training(1, 12, fall=0, noise=0.3)
    late = rows["epoch"] >= 4
    rows["loss"] = np.where(late, 0.01 * rows["loss"], rows["loss"])
    found = rank_examples(rows)
    advice = 'rank by the epochs before, with epochs=":3"'
    assert found.note == f"from epoch 4 on losses hardly differ, as those of examples that are known by heart: {advice}"
    assert rank_examples(rows, filters=Filters(epochs=":3")).note == ""
    steps = {name: values for name, values in rows.items() if name != "epoch"}
    assert 'rank by the steps before, with steps=":199"' in rank_examples(steps).note


@pytest.mark.tools
def test_a_loss_that_falls_is_not_known_by_heart():
    """A steep fall within the first epoch is learning, not knowing by heart."""
    assert "by heart" not in rank_examples(training(0, 1, fall=1 / 8)).note


def test_notes_of_several_runs_name_them():
    """Each note once, with the runs that it is about."""
    found = rank_examples(together(training(0, 1), training(1, 1), training(2, 5, fall=0)))
    assert found.note.startswith("seed 0 and seed 1: every example was seen once")
    assert "seed 2" not in found.note
