"""Duplicate rows: ranks with padding and resumed runs, against plain Python."""

import random
import tempfile
from collections import defaultdict

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed, which draws the records")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from lossreg.records.aggregate import aggregate_by_dataset  # noqa: E402
from lossreg.records.reader import connect  # noqa: E402
from lossreg.records.row_validation import chunks  # noqa: E402
from lossreg.records.shards import shard_name, write_shard  # noqa: E402

from ..budget import examples  # noqa: E402

SESSIONS = [f"{number:020x}" for number in range(3)]


def one_of(*values):
    return st.sampled_from(values)


drawn = st.lists(
    st.fixed_dictionaries(
        {"run": one_of("r", "r", "r", "q"), "rank": one_of(0, 0, 1, 2), "session": one_of(*SESSIONS)},
        optional={
            "split": one_of(None, None, None, "val"),
            "dataset": one_of(None, "", "", "d"),
            "sample_id": one_of(None, "", "a", "b"),
            "path": one_of(None, "p"),
            "epoch": one_of(None, 0, 0, 1),
            "step": one_of(None, None, 0, 1),
            "draw": one_of(None, None, None, 0, 1),
        },
    ),
    min_size=8,
    max_size=25,
)


def kept(rows):
    """The places of the rows that count: those of the latest session and, of these, of the lowest rank."""
    sessions, latest = defaultdict(set), {}
    for row in rows:
        sessions[row["run"], row["rank"]].add(row["session"])

    def step(row):
        name = row.get("sample_id") or row.get("path")
        if row.get("step") is None and (row.get("epoch") is None or name is None):
            return None
        return (row["run"], row["rank"], row.get("split"), row.get("dataset") or "", name, row.get("epoch"),
            row.get("step"), row.get("draw"))  # fmt: skip

    for row in rows:
        latest[step(row)] = max(latest.get(step(row), ""), row["session"])
    places = [place for place, row in enumerate(rows) if step(row) is None or row["session"] == latest[step(row)]]
    lowest = {}

    def sample(row):
        epoch = row.get("epoch")
        return (row["run"], row.get("split"), row.get("dataset") or "", row.get("sample_id"), epoch,
            row.get("step") if epoch is None else None, row.get("draw"))  # fmt: skip

    for row in (rows[place] for place in places):
        lowest[sample(row)] = min(lowest.get(sample(row), 9), row["rank"])
    return [p for p in places if not rows[p].get("sample_id") or rows[p]["rank"] == lowest[sample(rows[p])]]


def write(folder, rows):
    """A shard or two for each writer."""
    writers = defaultdict(list)
    for row in rows:
        row = dict(row)
        writers[row["run"], row["rank"], row.pop("session")].append(row)
    for (run, rank, session), mine in writers.items():
        for number, chunk in enumerate(chunks(mine, size=3)):
            write_shard(folder, shard_name(run, rank, session, number), chunk)


@settings(max_examples=examples(12, 40), deadline=None)
@given(drawn)
def test_plain_python_gives_the_same(rows):  # over 10 s by test-long: each example writes shards and reads them
    """Two runs, three ranks, three sessions, missing names; the loss is the row's place."""
    rows = [row | {"loss": float(place)} for place, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        write(folder, rows)
        with connect(folder, threads=1) as connection:
            found = connection.execute("SELECT loss FROM records ORDER BY 1").fetchall()
    assert [int(loss) for (loss,) in found] == kept(rows)


@pytest.mark.parametrize("seed", range(10))
def test_repeated_epochs_without_steps(seed):
    """Few names, so that most rows have several duplicates, which hypothesis seldom draws."""
    draw = random.Random(seed).choice
    rows = [
        {"run": "r", "rank": draw((0, 1)), "session": draw(SESSIONS), "sample_id": draw("ab"), "epoch": draw((0, 1))}
        for _ in range(15)
    ]
    rows = [row | {"loss": float(place)} for place, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        write(folder, rows)
        with connect(folder, threads=1) as connection:
            found = connection.execute("SELECT loss FROM records ORDER BY 1").fetchall()
    assert [int(loss) for (loss,) in found] == kept(rows)


def trained(epochs, ranks, samples, size, seed=0):
    """Rows as from torch's DistributedSampler: shuffled in every epoch, the first ones again at the end."""
    step = 0
    for epoch in range(epochs):
        order = [f"s{number}" for number in range(samples)]
        random.Random(seed + epoch).shuffle(order)
        order += order[: -samples % ranks]
        for start in range(0, len(order) // ranks, size):
            for rank in range(ranks):
                for name in order[rank::ranks][start : start + size]:
                    yield {"run": "r", "rank": rank, "epoch": epoch, "step": step, "sample_id": name}
            step += 1


def test_a_training_on_ranks_that_was_killed_and_resumed():
    """Four ranks, ten samples padded to twelve, three epochs; killed at step 4, resumed from step 2 on."""
    rows = list(trained(epochs=3, ranks=4, samples=10, size=2))
    first = [row | {"session": SESSIONS[0], "loss": 100.0} for row in rows if row["step"] < 4]
    second = [row | {"session": SESSIONS[1], "loss": 1.0 * (row["epoch"] + 1)} for row in rows if row["step"] >= 2]
    with tempfile.TemporaryDirectory() as folder:
        write(folder, first + second)
        found = aggregate_by_dataset(folder)["overall"]
    assert (found["count"], found["items"]) == (30, 10)
    assert found["mean"] == (10 * 100 + 10 * 2 + 10 * 3) / 30  # of epoch 0 are steps 0 and 1
    assert found["highest"][0]["count"] == 3
