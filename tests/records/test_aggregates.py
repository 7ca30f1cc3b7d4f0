"""Aggregates of records: against fractions in plain Python, and the same for every form and order of the rows."""

import json
import math
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed, which draws the records")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from lossreg.errors import LossregError  # noqa: E402
from lossreg.records.aggregate import aggregate_by_dataset  # noqa: E402
from lossreg.records.ranking import rank_examples  # noqa: E402
from lossreg.records.reader import connect  # noqa: E402
from lossreg.records.row_validation import chunks, columns  # noqa: E402
from lossreg.records.shards import write_shard  # noqa: E402

from ..budget import examples  # noqa: E402
from .tolerance import same  # noqa: E402

NAN, INF = math.nan, math.inf
SCORES = ("looks", "score", "error", "verdict")  # of an example, from the ranking
MANY, SOME, FEW = (
    settings(max_examples=examples(few, many), deadline=None) for few, many in ((6, 60), (3, 30), (1, 6))
)


def one_of(*values):
    return st.sampled_from(values)


def record_lists(losses, weights):
    """Rows with ties, missing values and names that SQL would stumble over."""
    row = st.fixed_dictionaries(
        {"loss": losses},
        optional={
            "dataset": one_of(None, "a", "b'; --", "ä"),
            "sample_id": one_of(None, "s0", "s1", "s2", "S0"),
            "path": one_of(None, "p0", "p1", "s0"),
            "caption": one_of(None, "x", "y"),
            "epoch": one_of(None, 0, 1, 2),
            "step": one_of(None, 0, 1),
            "weight": weights,
            "loss_dice": one_of(None, 0.5, -2.0, NAN),
            'loss_a"b': one_of(None, 1.0),
        },
    )
    return st.lists(row, max_size=25)


eighths = st.integers(-40, 40).map(lambda number: number / 8)
few = st.one_of(eighths, one_of(0.0, -0.0, 1.5, NAN, INF, -INF))
any_float = st.one_of(st.floats(-1e139, 1e139), one_of(1e-300, 5e-324, 1e16, -1e16, 1.0, NAN, INF, -INF))
halves = one_of(None, 1.0, 0.5, 3.0)


def as_columns(rows):
    names = sorted({name for row in rows for name in row} | {"loss"})
    return {name: [row.get(name) for row in rows] for name in names}


def as_shards(rows, folder, seed=0):
    """Rows in another order, in several shards."""
    rows = list(rows)
    rng = random.Random(seed)
    rng.shuffle(rows)
    number = 0
    while True:
        size = rng.randint(1, 7)
        for chunk in chunks(rows[:size]) if rows else [columns({"loss": []})]:
            write_shard(folder, f"job.rank00000.{'0' * 20}.{number:06d}.parquet", chunk)
        rows, number = rows[size:], number + 1
        if not rows:
            break
    return folder


def near(exact, magnitude):
    """The fraction as a float, within 1e-12 of a magnitude; None for None."""
    return None if exact is None else pytest.approx(float(exact), rel=1e-12, abs=1e-12 * float(magnitude) + 1e-300)


def mean(values, weights=None):
    weights = weights or [1.0] * len(values)
    total = sum(map(Fraction, weights))
    return sum(Fraction(v) * Fraction(w) for v, w in zip(values, weights, strict=True)) / total if values else None


def near_mean(values, weights=None):
    return near(mean(values, weights), mean([abs(value) for value in values], weights) or 0)


def near_variance(values):
    if len(values) < 2:
        return None
    middle, square = mean(values), mean([Fraction(value) ** 2 for value in values])
    return near(sum((Fraction(value) - middle) ** 2 for value in values) / (len(values) - 1), square)


def median(values):
    return float(statistics.median([Fraction(value) for value in values])) if values else None


def expected_items(rows):
    """The fields of each example but those of the ranking."""
    groups = defaultdict(list)
    for number, row in enumerate(rows):
        key = row.get("sample_id") or row.get("path")
        groups[row.get("dataset") or "", key, None if key else number].append(row)
    found = []
    for (dataset, _, _), group in groups.items():
        finite = [row["loss"] for row in group if math.isfinite(row["loss"])]
        epochs = defaultdict(list)
        for row in group:
            if math.isfinite(row["loss"]):
                epoch = row.get("epoch")
                epochs[epoch, row.get("step") if epoch is None else None].append(row["loss"])
        item = {"dataset": dataset}
        for name in ("sample_id", "path", "caption"):
            item[name] = min((row[name] for row in group if row.get(name) is not None), default=None)
        item |= {"count": len(finite), "mean": near_mean(finite)}
        item |= {"variance": near_variance([float(mean(values)) for values in epochs.values()])}
        item |= {"minimum": min(finite, default=None), "maximum": max(finite, default=None)}
        found.append(item)
    return found


def expected(rows):
    """All but the examples and the ranking in plain Python, with fractions."""
    components = sorted({name for row in rows for name in row if name.startswith("loss_")})
    made = {}
    for scope in (None, *sorted({row.get("dataset") or "" for row in rows})):
        mine = [row for row in rows if scope in (None, row.get("dataset") or "")]
        finite = [row for row in mine if math.isfinite(row["loss"])]
        losses = [row["loss"] for row in finite]

        def weighted(name, among=finite):
            some = [row for row in among if row.get(name) is not None and math.isfinite(row[name])]
            return near_mean([row[name] for row in some], [row.get("weight") or 1.0 for row in some])

        made[scope] = {
            "count": len(losses),
            "nan": sum(math.isnan(row["loss"]) for row in mine),
            "infinite": sum(math.isinf(row["loss"]) for row in mine),
            "items": len(expected_items(mine)),
            "mean": weighted("loss"),
            "median": median(losses),
            "minimum": min(losses, default=None),
            "maximum": max(losses, default=None),
            "variance": near_variance(losses),
            "components": {name.removeprefix("loss_"): weighted(name) for name in components},
        }
    return {"run": None, "split": None, "overall": made.pop(None), "datasets": made}


def without_examples(found):
    """A result, and the examples at both ends of each data set and of all, which are taken out of it."""
    scopes = {None: found["overall"], **found["datasets"]}
    return found, {name: (one.pop("highest"), one.pop("lowest")) for name, one in scopes.items()}


def names(one):
    return one["dataset"], one["sample_id"] or "", one["path"] or "", one["caption"] or ""


@MANY
@given(record_lists(few, halves))
def test_plain_python_gives_the_same(rows):
    """Counts, means, medians, extremes. The examples are the ends of the ranking, which has a test of its own."""
    found, ends = without_examples(aggregate_by_dataset(rows, top_k=3))
    ranking = asdict(rank_examples(rows))
    assert found == expected(rows) | {"ranking": {name: ranking[name] for name in ("reliability", "sure", "note")}}
    items = expected_items(rows)
    for dataset, (highest, lowest) in ends.items():
        mine = [one for one in ranking["examples"] if dataset in (None, one["dataset"])]
        assert list(map(names, highest)) == list(map(names, mine[:3]))
        upwards = sorted(mine, key=lambda one: (one["score"], one["mean"], *names(one)))
        assert list(map(names, lowest)) == list(map(names, upwards[:3]))
        for one, place in zip(highest, mine, strict=False):
            assert {name: one[name] for name in SCORES} == {name: place[name] for name in SCORES}
            assert {name: value for name, value in one.items() if name not in SCORES} in items


@SOME
@given(record_lists(any_float, st.floats(1e-6, 1e6)))
def test_floats_of_any_size(rows):
    """Means and variances within 1e-12 of the magnitude, and exact medians, from 5e-324 to 1e139."""
    found, ends = without_examples(aggregate_by_dataset(rows, top_k=0))
    assert found == expected(rows) | {"ranking": found["ranking"]}
    assert all(places == ([], []) for places in ends.values())


@FEW
@given(record_lists(st.one_of(few, any_float), halves), st.integers(0, 99))
def test_every_form_gives_the_same(rows, seed):  # over 10 s by test-long: five queries for each example
    """A list, columns, a generator, and shards in two orders and divisions; and JSON holds it."""
    found = aggregate_by_dataset(rows)
    json.dumps(found, allow_nan=False)
    scale = max((abs(row["loss"]) for row in rows if math.isfinite(row["loss"])), default=0) + 2
    assert same(aggregate_by_dataset(row for row in rows), found, scale)
    assert same(aggregate_by_dataset(as_columns(rows)), found, scale)
    for number in (seed, seed + 100):
        with tempfile.TemporaryDirectory() as folder:
            assert same(aggregate_by_dataset(as_shards(rows, folder, number)), found, scale)


@pytest.mark.parametrize(
    "losses, middle",
    [
        ([2.225073858507203e-309, 5e-324], 1.112536929253607e-309),  # half of the first has no digit left for it
        ([1.7e308, 1.75e308], 1.725e308),  # their sum is no float
        ([5e-324, 5e-324], 5e-324),
        ([-1.0, 1.0], 0.0),
    ],
)
def test_the_median_of_two_is_their_midpoint(losses, middle):
    """Correctly rounded, at both ends of the range of floats."""
    assert aggregate_by_dataset([{"loss": loss} for loss in losses])["overall"]["median"] == middle


@SOME
@given(st.lists(any_float.filter(math.isfinite), min_size=1, max_size=6))
def test_the_mean_of_an_example_lies_within_its_losses(losses):
    """However they are rounded."""
    found = aggregate_by_dataset([{"loss": loss, "sample_id": "x"} for loss in losses])["overall"]["highest"][0]
    assert min(losses) <= found["mean"] <= max(losses)


def test_the_mean_of_equal_losses_is_not_rounded():
    """Three times this number, divided by 3, is one digit less."""
    loss = 0.8444218515250481
    assert math.fsum([loss] * 3) / 3 != loss
    found = aggregate_by_dataset([{"loss": loss, "sample_id": "x"}] * 3)["overall"]["highest"][0]
    assert (found["mean"], found["minimum"]) == (loss, loss)


def test_sums_are_compensated():
    """Each 1 added to 1e16 plainly is lost; the means of 1e16, 1 and -1e16 are 1e-16 of the magnitude off."""
    rows = {"loss": [1e16] + [1.0] * 50_000 + [-1e16], "sample_id": ["x"] * 50_002}
    found = aggregate_by_dataset(rows)["overall"]
    assert found["mean"] == pytest.approx(50_000 / 50_002, abs=0.1)
    assert found["highest"][0]["mean"] == pytest.approx(50_000 / 50_002, abs=0.1)
    large = aggregate_by_dataset({"loss": [1e16, 1.0, -1e16] * 1000, "weight": [0.5] * 3000})["overall"]
    assert abs(large["mean"] - 1 / 3) <= 2
    assert large["variance"] == pytest.approx(2000 / 2999 * 1e32, rel=1e-12)


def test_variances_of_nearly_equal_losses():
    """A billion and 0, 1 or 2, next to a dataset of 0.1 and 0.3: the digits of the billion are not lost."""
    rows = {"loss": [1e9, 1e9 + 1, 1e9 + 2] * 1000 + [0.1, 0.3] * 1000, "dataset": ["a"] * 3000 + ["b"] * 2000}
    found = aggregate_by_dataset(rows)["datasets"]
    assert found["a"]["variance"] == pytest.approx(2 / 3 * 3000 / 2999, rel=1e-14)
    assert found["b"]["variance"] == pytest.approx(0.01 * 2000 / 1999, rel=1e-14)


def test_beyond_the_range_of_floats_there_is_null():
    """Variances whose squares overflow, and means whose sum does; a median stays finite."""
    found = aggregate_by_dataset([{"loss": loss, "sample_id": "x"} for loss in (1e200, 3e200)])["overall"]
    assert (found["mean"], found["median"], found["variance"]) == (2e200, 2e200, None)
    assert (found["highest"][0]["mean"], found["highest"][0]["variance"]) == (2e200, None)
    largest = sys.float_info.max
    found = aggregate_by_dataset({"loss": [largest] * 3})["overall"]
    assert (found["mean"], found["median"], found["maximum"]) == (None, largest, largest)
    assert aggregate_by_dataset({"loss": [largest], "sample_id": ["x"]})["overall"]["highest"][0]["mean"] == largest


def test_the_variance_of_an_example_is_over_epochs():
    """Two rows of an epoch are one mean; without epochs it is over steps."""
    losses = [0.1, 0.3, 0.5, 0.7, 2.0, 1.0]
    rows = [{"loss": loss, "sample_id": "x", "epoch": number // 2} for number, loss in enumerate(losses)]
    rows += [{"loss": loss, "sample_id": "y", "step": step} for step, loss in enumerate((0.1, 0.3, 1e-7))]
    rows += [{"loss": 0.7, "sample_id": "z", "epoch": 1, "step": step} for step in range(3)]
    found = {item["sample_id"]: item["variance"] for item in aggregate_by_dataset(rows)["overall"]["highest"]}
    assert found == {"x": near_variance([0.2, 0.6, 1.5]), "y": near_variance([0.1, 0.3, 1e-7]), "z": None}


def test_a_small_table():
    """By hand: two datasets, three examples, one of them in two epochs."""
    rows = [
        {"dataset": "a", "sample_id": "cat", "epoch": 0, "loss": 1.0, "caption": "a cat"},
        {"dataset": "a", "sample_id": "cat", "epoch": 1, "loss": 2.0, "path": "cat.png"},
        {"dataset": "a", "sample_id": "dog", "epoch": 0, "loss": 6.0},
        {"dataset": "b", "path": "owl.png", "loss": NAN, "loss_dice": 1.0},
        {"dataset": "b", "path": "owl.png", "loss": 3.0, "loss_dice": 0.25, "weight": 2.0},
    ]
    cat = {"dataset": "a", "sample_id": "cat", "path": "cat.png", "caption": "a cat", "count": 2}
    cat |= {"mean": 1.5, "minimum": 1.0, "maximum": 2.0, "variance": 0.5, "looks": 2}
    dog = {"dataset": "a", "sample_id": "dog", "path": None, "caption": None, "count": 1}
    dog |= {"mean": 6.0, "minimum": 6.0, "maximum": 6.0, "variance": None, "looks": 1}
    found = aggregate_by_dataset(rows, top_k=1)
    for example in (*found["datasets"]["a"]["highest"], *found["datasets"]["a"]["lowest"]):
        assert [type(example.pop(name)) for name in SCORES[1:]] == [float, float, str]
    assert found["datasets"]["a"] == {
        "count": 3, "nan": 0, "infinite": 0, "items": 2, "mean": 3.0, "median": 2.0, "minimum": 1.0, "maximum": 6.0,
        "variance": 7.0, "components": {"dice": None}, "highest": [dog], "lowest": [cat],
    }  # fmt: skip
    owl = found["datasets"]["b"]
    assert (owl["count"], owl["nan"], owl["mean"], owl["components"]) == (1, 1, 3.0, {"dice": 0.25})
    assert found["overall"]["mean"] == 15 / 5  # the owl counts twice
    assert found["overall"]["median"] == 2.5


def test_medians_of_many_ties_and_of_a_huge_range():
    """Ten thousand zeros and one more negative than positive; the middle of 1e-300 and 1e300."""
    tied = {"loss": [0.0] * 10_000 + [-1.0, 5.0, -2.0]}
    assert aggregate_by_dataset(tied)["overall"]["median"] == 0.0
    assert aggregate_by_dataset({"loss": [1e-300, 1e300]})["overall"]["median"] == 5e299
    assert aggregate_by_dataset({"loss": [-1e-300, -1e300, -3.0]})["overall"]["median"] == -3.0
    assert aggregate_by_dataset({"loss": [5e-324]})["overall"]["median"] == 5e-324
    assert aggregate_by_dataset({"loss": [1.01e280, 1e279, 1e281, 2.0, 1e300]})["overall"]["median"] == 1.01e280


def test_examples_are_compared_with_others_of_their_time():
    """The loss falls. The last 128 looks have the lowest means; the one that lost most among them is the first."""
    rows = [
        {"loss": 100.0 - number // 128 + number % 7 / 100, "sample_id": str(number), "step": number}
        for number in range(1280)
    ]
    rows[1200]["loss"] += 3
    found = aggregate_by_dataset(rows, top_k=1)["overall"]
    assert [(one["sample_id"], one["mean"]) for one in found["highest"]] == [("1200", 94.03)]


def test_equal_means_are_in_the_order_of_names():
    """Those without a sample_id come first; then by sample_id, as text."""
    rows = [{"loss": 1.0, "sample_id": name} for name in ("b", "a10", "a9", "B")]
    rows += [{"loss": 1.0, "path": "z"}, {"loss": 1.0, "caption": "k"}, {"loss": 1.0, "caption": "c"}]
    found = aggregate_by_dataset(rows, top_k=6)["overall"]
    names = [item["sample_id"] or item["path"] or item["caption"] for item in found["highest"]]
    assert names == ["c", "k", "z", "B", "a10", "a9"]
    assert found["lowest"] == found["highest"]


def test_the_order_of_rows_does_not_change_a_ranking():
    """The same seven losses in two orders have means that differ in the last digit; the name decides all the same."""
    losses = [1.3, 1.5, 2.5, 2.0, 0.4, 0.8, 2.3]
    for seed in range(3):
        random.Random(seed).shuffle(losses)
        rows = [{"loss": loss, "sample_id": "a"} for loss in sorted(losses)]
        rows += [{"loss": loss, "sample_id": "b"} for loss in losses]
        found = aggregate_by_dataset(rows)["overall"]
        assert [item["sample_id"] for item in found["highest"]] == ["a", "b"]
        assert [item["sample_id"] for item in found["lowest"]] == ["a", "b"]


def test_more_rows_than_a_chunk_from_a_generator():
    """200,000 rows that are never all in memory: of 0 to 199,999 mean and median are 99,999.5."""
    found = aggregate_by_dataset({"loss": float(number), "sample_id": str(number % 1000)} for number in range(200_000))
    assert found["overall"]["mean"] == found["overall"]["median"] == 99_999.5
    assert found["overall"]["items"] == 1000
    assert found["overall"]["variance"] == pytest.approx(200_000 * 200_001 / 12, rel=1e-12)


def test_less_memory_gives_the_same(tmp_path):
    """Data beyond the limit goes to a temporary folder, which is removed."""
    rows = [{"loss": math.sin(number), "sample_id": f"{number:030d}"} for number in range(60_000)]
    with connect(rows, memory_limit="60MB", threads=1, temp_directory=tmp_path) as records:
        assert same(aggregate_by_dataset(records), aggregate_by_dataset(rows), 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("top_k", [-1, 1.0, True, 100_001, "3"])
def test_a_top_k_that_cannot_be(top_k):
    """An integer within bounds."""
    with pytest.raises(LossregError, match=r"^top_k must be an integer from 0 to 100000, got "):
        aggregate_by_dataset([], top_k=top_k)


def test_a_weight_in_a_shard_that_cannot_be(tmp_path):
    """A mean over it would mean nothing."""
    chunk = next(chunks([{"loss": 1.0}, {"loss": 2.0}]))
    for number, weight in enumerate((0.0, -1.0, INF, NAN)):
        folder = Path(tmp_path, str(number))
        folder.mkdir()
        chunk["weight"][0] = weight
        write_shard(folder, "x.parquet", chunk)
        with pytest.raises(LossregError, match=rf"^records have a weight of {weight}; weights are finite and above 0$"):
            aggregate_by_dataset(folder)
