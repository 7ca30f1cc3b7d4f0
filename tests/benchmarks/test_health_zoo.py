"""The zoo of trainings: a few of each list, and the page with its false alarms and misses."""

from dataclasses import replace

import pytest

from lossreg.health import default_rules


@pytest.fixture
def zoo(benchmarks):
    import health_zoo

    return health_zoo


def named(zoo, name):
    return next(training for training in zoo.ZOO if training.name == name)


def test_the_lists_are_long_and_each_training_has_its_expectation(zoo):
    """At least 60 sound and 60 broken ones; default rules or one of two words should report them."""
    rules = {type(rule).__name__ for rule in default_rules()} | {"refused", "doubt"}
    assert len({training.name for training in zoo.ZOO}) == len(zoo.ZOO)
    assert sum(training.is_sound for training in zoo.ZOO) >= 60
    assert sum(bool(training.expected) for training in zoo.ZOO) >= 60
    assert {name for training in zoo.ZOO for name in training.expected} <= rules
    assert not [training.name for training in zoo.ZOO if training.expected and training.undetectable]


@pytest.mark.tools
@pytest.mark.parametrize("name", ["loss dice", "batch 1", "classes, cross_entropy", "a validation, steps from 0"])
def test_a_sound_training_is_silent(zoo, name):
    """Two windows of it."""
    result = zoo.run(replace(named(zoo, name), steps=100), 0)
    assert (result.reports, result.updates) == ((), 100)


def test_a_loss_that_refuses_has_reported_at_once(zoo):
    """Masks of 0 and 255 end in an error of the first update."""
    result = zoo.run(named(zoo, "masks of 0 and 255"), 0)
    assert [(report.rule, report.severity, report.update) for report in result.reports] == [("refused", "error", 0)]
    assert "divide by 255" in result.reports[0].text


@pytest.mark.tools
@pytest.mark.parametrize(
    ("name", "rule", "most"),
    [
        ("all masks empty, batch 1", "EmptyTargets", 150),
        ("black images", "ConstantPrediction", 100),
        ("sigmoid twice", "doubt", 150),
    ],
)
def test_a_broken_training_ends_when_it_is_reported(zoo, name, rule, most):
    """Within two or three windows, of 5,000 updates."""
    result = zoo.run(named(zoo, name), 0)
    assert result.reports[-1].rule == rule
    assert result.updates == result.reports[-1].update <= most


@pytest.fixture
def page(zoo):
    """Give a function from (training, severity, rule, update) of two runs each to the page."""
    import zoo.page
    import zoo.run

    def make(*rows):
        trainings, results = [], []
        for training, severity, rule, update in rows:
            reports = (zoo.run.Report(rule, severity, update, f"{rule} at step {update}: share 0.96. look at it."),)
            trainings.append(training)
            results += [
                zoo.run.Result(training.name, seed, reports if rule else (), 100, 0.9, 1.0, 0.5, 1.0) for seed in (0, 1)
            ]
        kinds = zoo.page.sort(trainings, results)
        return zoo.page.goals(kinds), zoo.page.page(kinds)

    return make


def test_the_page_counts_false_alarms_by_severity(zoo, page):
    """Two sound runs of four with a warning are more than one in a hundred, and information is no alarm."""
    first, second = (training for training in zoo.ZOO[:2])
    goals, lines = page((first, "warning", "Spike", 60), (second, "info", "ZeroLoss", 60))
    assert [met for _, met in goals] == [True, False, True, True]
    assert goals[1][0] == "sound runs with a warning: 2 of 4 (goal: at most 1%)"
    assert f"- {first.name}: Spike, warning, in 2 of 2 runs, at update 60: Spike at step 60: share 0.96." in lines
    assert not any(line.startswith(f"- {second.name}: ZeroLoss") for line in lines)


def test_the_page_names_late_and_missing_reports(zoo, page):
    """Of 5,000 updates, 5 % are 250; the updates before the fault do not count; another rule is no answer."""
    empty, late, jump = (
        named(zoo, name) for name in ("all masks empty", "all masks empty, batch 1", "the rate jumps to 10")
    )
    goals, lines = page(
        (empty, "error", "EmptyTargets", 250), (late, "error", "EmptyTargets", 251), (jump, "error", "Collapse", 450)
    )
    assert goals[2] == (
        "broken runs reported within 5% of the training: 4 of 6 (goal: at least 90%); at any time: 6",
        False,
    )
    assert f"- {late.name}: reported after 5.0% of the training, with 2 of 2 seeds." in lines
    goals, lines = page((empty, "warning", "Spike", 10))
    assert f"- {empty.name}: never reported, with 2 of 2 seeds." in lines


def test_undetectable_trainings_have_their_reason(zoo, page):
    """In a table of their own, beside the reports that came all the same."""
    training = named(zoo, "a learning rate of 0")
    _, lines = page((training, "warning", "Collapse", 10))
    assert f"| {training.name} | {training.undetectable} | Collapse (warning) |" in lines
