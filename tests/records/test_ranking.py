"""The ranking of examples: against NumPy, the same in every order, and true about what is chance."""

import math

import numpy as np
import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.records.ranking import rank_examples

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
