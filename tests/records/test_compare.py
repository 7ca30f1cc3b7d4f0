"""The same examples in two runs, splits, or stretches of epochs or steps."""

import json
import statistics

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.errors import InputError
from lossreg.records import Filters, compare_runs, rank_examples
from lossreg.records.reader import connect


def run_rows(run, *, split="train", scale=1.0, epochs=range(3), size=12, **losses):
    """Examples e00, e01, ... that lose 1, 2, ... times the scale in every epoch, a little more in each; or as given."""
    return [
        {
            "run": run,
            "split": split,
            "sample_id": f"e{number:02d}",
            "caption": f"number {number}",
            "dataset": "street",
            "epoch": epoch,
            "step": epoch,
            "loss": scale * losses.get(f"e{number:02d}", 1.0 + number) * (1 + epoch / 100 + number % 3 * epoch / 50),
        }
        for epoch in epochs
        for number in range(size)
    ]


def test_a_run_that_halves_all_losses_changes_no_example():
    """The change is that of the middle alone: the median of the mean losses of the examples in both."""
    rows = run_rows("a") + run_rows("b", scale=0.5)
    found = compare_runs(rows, "a", "b")
    means = [
        statistics.mean(row["loss"] for row in run_rows("a") if row["sample_id"] == f"e{n:02d}") for n in range(12)
    ]
    assert found["middle_first"] == pytest.approx(statistics.median(means))
    assert found["middle_second"] == pytest.approx(statistics.median(means) / 2)
    assert found["middle_change"] == pytest.approx(-statistics.median(means) / 2)
    assert [one["change"] for one in found["examples"]] == [pytest.approx(0, abs=1e-5)] * 12
    assert (found["by"], found["first"], found["second"], found["both"]) == ("run", "a", "b", 12)
    json.dumps(found, allow_nan=False)


def test_the_example_that_changed_is_first():
    """With its scores and means in both runs as rank_examples gives them, and the error of their difference."""
    rows = run_rows("a") + run_rows("b", e02=40.0)
    first = compare_runs(rows, "a", "b", top_k=1)["examples"]
    before, after = (
        next(one for one in rank_examples(rows, filters=Filters(runs=run)).examples if one.sample_id == "e02")
        for run in "ab"
    )
    assert first == [
        {
            "run": None,
            "split": "train",
            "dataset": "street",
            "sample_id": "e02",
            "path": None,
            "caption": "number 2",
            "looks_first": 3,
            "looks_second": 3,
            "score_first": before.score,
            "score_second": after.score,
            "change": after.score - before.score,
            "error": pytest.approx((before.error**2 + after.error**2) ** 0.5),
            "mean_first": pytest.approx(before.mean),
            "mean_second": pytest.approx(after.mean),
        }
    ]
    assert first[0]["change"] > 1
    (back,) = compare_runs(rows, "b", "a", top_k=1)["examples"]
    assert (back["sample_id"], back["change"]) == ("e02", -first[0]["change"])


def test_examples_of_one_side_are_counted():
    """One without a name is in neither; the same name in another data set is another example."""
    rows = run_rows("a", size=12) + run_rows("b", size=9)
    rows += [{"run": "a", "split": "train", "loss": 1.0, "step": 0, "caption": "no name"}]
    rows += [{**row, "dataset": "sea"} for row in run_rows("b", size=2)]
    found = compare_runs(rows, "a", "b")
    assert (found["both"], found["only_first"], found["only_second"]) == (9, 3, 2)
    assert len(found["examples"]) == 9


@pytest.mark.parametrize(
    ("by", "first", "second", "filters", "both"),
    [
        ("split", "train", "val", Filters(runs="a"), 12),
        ("split", "train", "val", None, 24),
        ("epochs", ":0", "1-2", Filters(splits="train"), 24),
        ("steps", "0", "2:", Filters(runs="b"), 24),
        ("run", "a", "b", None, 24),
        ("run", "a", "b", Filters(splits="val"), 12),
    ],
)
def test_what_is_compared(by, first, second, filters, both):
    """Sides differ by one thing; in all else an example is the same on both, and named so."""
    rows = [row for run in "ab" for split in ("train", "val") for row in run_rows(run, split=split)]
    found = compare_runs(rows, first, second, by=by, filters=filters)
    assert (found["both"], found["only_first"], found["only_second"]) == (both, 0, 0)
    named = {name for name in ("run", "split") if any(one[name] for one in found["examples"])}
    assert named == {"run", "split"} - {by}


def test_sure_changes_come_before_others():
    """An example seen once on each side has no known error: it is behind, however much it changed."""
    rows = run_rows("a") + run_rows("b", e02=40.0)
    rows += run_rows("c", split="val", epochs=[0]) + run_rows("d", split="val", epochs=[0], e01=1e6)
    rows = [{**row, "run": {"c": "a", "d": "b"}.get(row["run"], row["run"])} for row in rows]
    examples = compare_runs(rows, "a", "b", top_k=100)["examples"]
    assert (examples[0]["sample_id"], examples[0]["split"]) == ("e02", "train")
    (jump,) = (one for one in examples if one["split"] == "val" and one["sample_id"] == "e01")
    assert jump["error"] is None
    assert jump["change"] > examples[0]["change"]
    assert [one["error"] is None for one in examples] == [False] * 12 + [True] * 12


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("a", "c"), {}, r"^runs: no row is of run 'c'; the runs are 'a', 'b', 'lone'$"),
        (("a", "a"), {}, r"^'a' is compared with itself; give two different runs$"),
        (("a", "b"), {"by": "epoch"}, r"^by: records are not compared by 'epoch'; did you mean 'epochs'\?$"),
        (("a", "b"), {"by": "x"}, r"^by: records are not compared by 'x'; choose run, split, epochs, steps$"),
        (("a", "b"), {"filters": Filters(runs="a")}, r"^filters: runs are what is compared; leave runs out$"),
        (("a", "b"), {"top_k": -1}, r"^top_k must be an integer from 0 to 100000, got -1$"),
        ((["a"], "b"), {}, r"^\['a'\] is no name of one run; give a text$"),
        (("train", None), {"by": "split"}, r"^None is no name of one split; give a text$"),
        (("0", "x"), {"by": "epochs"}, r"^epochs: 'x' is no range; write 5"),
        (
            ("a", "lone"),
            {},
            r"^no example is in both 'a' and 'lone': the same example has the same dataset and sample_id",
        ),
    ],
)
def test_what_cannot_be_compared(arguments, options, message):
    """The error names it, and what to do."""
    rows = run_rows("a") + run_rows("b") + run_rows("lone", split="val")
    with pytest.raises(InputError, match=message):
        compare_runs(rows, *arguments, **options)


def test_a_connection_is_left_as_it_was():
    """No table stays, whether it worked or not."""
    with connect(run_rows("a") + run_rows("b") + run_rows("lone", split="val")) as connection:
        query = "SELECT table_name FROM information_schema.tables ORDER BY 1"
        before = connection.execute(query).fetchall()
        compare_runs(connection, "a", "b")
        with pytest.raises(InputError, match="no example"):
            compare_runs(connection, "a", "lone")
        assert connection.execute(query).fetchall() == before
