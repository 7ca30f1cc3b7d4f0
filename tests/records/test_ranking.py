"""The ranking of examples: against NumPy, and the same in every order."""

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.records.ranking import rank_examples, windows
from lossreg.records.reader import connect
from lossreg.records.row_validation import columns
from lossreg.records.shards import write_shard

from .ranking_oracle import rank

NAN, INF = math.nan, math.inf
COLUMNS = ("run", "split", "dataset", "sample_id", "epoch", "step", "draw", "unconditional", "condition", "loss")


def training(seed, *, names=60, epochs=6, batch=8, condition=False, draws=(None,), unconditional=0.0, runs=("r",)):
    """Rows of a training: losses fall, an example in eight loses more, gamma noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in runs:
        for epoch in range(epochs):
            for place, name in enumerate(rng.permutation(names)):
                step = (epoch * names + place) // batch
                for draw in draws:
                    t = float(rng.random()) if condition else None
                    bare = bool(rng.random() < unconditional)
                    level = (1 + (name % 8 == 0)) * math.exp(-step / 40) * (1 + 4 * (t or 0)) + bare
                    rows.append({
                        "run": run, "split": "train", "dataset": "abc"[min(name // 4 % 4, 2)],
                        "sample_id": f"i{name}", "epoch": epoch, "step": step, "draw": draw, "unconditional": bare,
                        "condition": t, "loss": float(level * rng.gamma(3)),
                    })  # fmt: skip
    return rows


def by_name(found):
    return {(one.run, one.split, one.dataset, one.sample_id): one for one in found.examples}


KINDS = {
    "plain": {},
    "long": {"names": 300, "epochs": 5},
    "one epoch": {"epochs": 1, "names": 200},
    "condition": {"condition": True, "names": 200, "epochs": 8},
    "draws": {"condition": True, "draws": (0, 1, 2, 3), "epochs": 2},
    "captions dropped": {"unconditional": 0.2, "names": 150},
    "two runs": {"runs": ("a", "b")},
}


@pytest.mark.parametrize(
    "kind, seed",
    [
        ("captions dropped", 0),
        *(pytest.param(kind, seed, marks=pytest.mark.tools) for kind in KINDS for seed in (1, 2)),
    ],
)
def test_numpy_gives_the_same(kind, seed):
    """Scores, errors, deviations, verdicts, means and reliability, to 1e-9."""
    rows = training(seed, **KINDS[kind])
    groups, expected = rank(rows)
    found = rank_examples({name: [row[name] for row in rows] for name in COLUMNS}, top_k=10_000)
    assert len(found.examples) == found.total == len(expected)
    for key, one in by_name(found).items():
        for field, value in expected[key].items():
            value = pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
            assert getattr(one, field) == value, (key, field)
    for group in found.groups:
        for field, value in groups[group.run, group.split].items():
            assert getattr(group, field) == (None if value is None else pytest.approx(value, rel=1e-9))
    assert [one.score for one in found.examples] == sorted((one.score for one in found.examples), reverse=True)


def as_columns(rows):
    names = sorted({name for row in rows for name in row})
    return {name: [row.get(name) for row in rows] for name in names}


def in_shards(rows, folder, seed):
    """The rows in another order, in shards of other sizes."""
    rng = random.Random(seed)
    rows = rng.sample(rows, len(rows))
    cuts = sorted({0, len(rows), *(rng.randrange(len(rows)) for _ in range(seed + 1))})
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        write_shard(folder, f"r.rank00000.{'0' * 20}.{number:06d}.parquet", columns(as_columns(rows[start:end])))
    return folder


def without_mean(found):
    """A ranking but for the plain means, whose sums are compensated: their last digits depend on the order."""
    return replace(found, examples=tuple(replace(one, mean=None) for one in found.examples))


@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.tools), pytest.param(2, marks=pytest.mark.tools)]
)
def test_every_order_gives_the_same_bits(seed, tmp_path):
    """Shuffled rows in other shards, read by one thread or by four; losses from 1e-12 to 1e12."""
    rows = training(seed, condition=True, unconditional=0.1, names=50, epochs=4)
    rng = random.Random(seed)
    for row in rows:
        row["loss"] *= 10 ** rng.uniform(-12, 12)
        row["dataset"] = rng.choice([None, row["dataset"]])
    expected = rank_examples(as_columns(rows), top_k=1000)
    for number, threads in enumerate((1, 4)):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        with connect(in_shards(rows, folder, seed * 2 + number), threads=threads) as connection:
            found = rank_examples(connection, top_k=1000)
        assert without_mean(found) == without_mean(expected)
        for one, other in zip(found.examples, expected.examples, strict=True):
            assert one.mean == pytest.approx(other.mean, rel=1e-12)


@pytest.mark.tools
def test_quartiles_of_a_sample(monkeypatch, tmp_path):
    """Where runs are long a sample gives the quartiles, the same in any order; scores hardly change, no row is lost."""
    rows = training(3, names=300, epochs=10)
    whole = rank_examples(as_columns(rows), top_k=1000)
    monkeypatch.setattr(windows, "KEPT", len(rows) // 4)
    monkeypatch.setattr(windows, "WHOLE", 100)
    found = rank_examples(as_columns(rows), top_k=1000)
    assert without_mean(found) == without_mean(rank_examples(in_shards(rows, tmp_path, 1), top_k=1000))
    scores, sampled = ({one.sample_id: one.score for one in each.examples} for each in (whole, found))
    assert sampled.keys() == scores.keys()
    assert {one.looks for one in found.examples} == {10}
    assert sampled != scores
    assert np.corrcoef([[one[name] for name in scores] for one in (scores, sampled)])[0, 1] > 0.95


@pytest.mark.tools
def test_little_memory_is_enough(tmp_path):
    """300,000 rows without names are 300,000 examples: with 120 MB, what does not fit goes to disk."""
    rng = np.random.default_rng(0)
    rows = {"loss": rng.gamma(3, size=300_000), "step": np.arange(300_000) // 64}
    found = rank_examples(rows, memory_limit="120MB", top_k=3)
    assert (found.total, found.sure) == (300_000, 0)
    assert [one.mean for one in found.examples] == pytest.approx([max(rows["loss"])] * 3, rel=0.4)
