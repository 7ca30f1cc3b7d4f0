"""The table of planted bad examples: its scores, its shares and its page."""

import math

import pytest
import torch

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
pytest.importorskip("skimage", reason="scikit-image is not installed: pip install scikit-image")
pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from lossreg.records import RecordWriter

pytestmark = pytest.mark.tools  # with its libraries it takes seconds to import


@pytest.fixture
def which_examples(benchmarks):
    import which_examples

    return which_examples


def test_the_margin_is_to_the_highest_other_logit(which_examples):
    """By hand: 2 - 1, and -1 - 3."""
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 0.5]])
    assert which_examples.digits.margin(logits, torch.tensor([1, 1])).tolist() == [1.0, -4.0]


def test_the_soft_minimum_is_that_of_the_formula(which_examples):
    """Two pixels whose labels have the probabilities 0.9 and 0.4."""
    logits = torch.tensor([[[[math.log(9), math.log(1.5)]]]])
    masks = torch.tensor([[[[1.0, 0.0]]]])
    weights = [math.exp((1 - p) / 0.1) for p in (0.9, 0.4)]
    expected = (0.9 * weights[0] + 0.4 * weights[1]) / sum(weights)
    assert which_examples.segmentation.softmin(logits, masks).item() == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def training(which_examples, tmp_path):
    """Forty examples over ten epochs: the losses of 3 and 7 are higher, in the last epoch those of 0 and 1 are."""
    generator = torch.Generator().manual_seed(0)
    with RecordWriter(tmp_path / "records", run="train") as writer:
        for epoch in range(1, 11):
            losses = torch.rand(40, generator=generator)
            losses[[0, 1] if epoch == 10 else [3, 7]] += 9.0
            names = [str(number) for number in range(40)]
            writer.add(losses, sample_ids=names, step=epoch, epoch=epoch, columns={"margin": (-losses).tolist()})
    return which_examples.Training(tmp_path / "records", frozenset({"3", "7"}))


def test_each_statistic_finds_what_it_looks_at(which_examples, training):
    """The mean finds both, the last epoch none; a statistic without its column has no figure."""
    statistics = which_examples.STATISTICS
    found = {name: make(training, 10) for name, make in statistics.items()}
    share = {name: which_examples.precision(order, training) for name, order in found.items() if order is not None}
    assert share == {
        "plain mean of the losses in training": 1.0,
        "last epoch alone": 0.0,
        "AUM (mean margin)": 1.0,
        "**`rank_examples`**": 1.0,
    }


def test_named_examples_are_counted(which_examples, training):
    """Both planted ones, and none where their losses are dealt to others."""
    named = which_examples.name_examples(training, 10, 0)
    assert (named.sure, named.planted, named.shuffled, named.examples) == (2, 2, 0, 40)
    assert which_examples.name_examples(training, 1, 0).sure == 0


def test_the_page_has_means_and_errors(which_examples):
    """Two seeds that find 20 and 40 % are 30 % with an error of 10; counts are sums."""
    name = "plain mean of the losses in training"
    named = [which_examples.Named(0.25, 1, 1, 0, 50), which_examples.Named(0.75, 3, 2, 0, 50)]
    judged = [
        which_examples.Judged({(name, 1): share, (name, 3): share, (name, 10): share}, dict.fromkeys((1, 3, 10), each))
        for share, each in zip((0.2, 0.4), named, strict=True)
    ]
    lines = which_examples.page({"digits": judged})
    assert f"| {name} | 30 ± 10 | 30 ± 10 | 30 ± 10 |" in lines
    assert "| digits | 10 | 0.50 | 4 of 100 (4.0 %) | 75 % | 0 |" in lines
    assert any("2 seeds of each" in line for line in lines)
