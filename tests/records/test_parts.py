"""Runs and splits: statistics of each by itself, or of all together on request."""

import json

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.errors import InputError
from lossreg.records import Filters, aggregate_by_dataset, aggregate_by_run, flag_bad_captions
from lossreg.records.export import export_json

from .tolerance import same

# Two runs of two examples, one of them also validated: means 1, 20 and 300.
ROWS = [
    {"run": run, "split": split, "sample_id": name, "loss": mean + shift, "caption": "a", "epoch": epoch}
    for run, split, mean in (("a", "train", 1.0), ("a", "val", 20.0), ("b", None, 300.0))
    for name, shift in (("x", -0.5), ("y", 0.5))
    for epoch in range(2)
]
PARTS = [("a", "train"), ("a", "val"), ("b", None)]


def test_several_runs_and_splits_are_not_summed():
    """The error names them and the three ways on, which lead to a result."""
    with pytest.raises(InputError) as caught:
        aggregate_by_dataset(ROWS)
    assert str(caught.value) == (
        "the records hold 3 runs and splits, which are not summed unasked (a, train; a, val; b, (without a split)):"
        " choose one with filters=Filters(runs=..., splits=...), sum them with together=True, or take each from"
        " aggregate_by_run"
    )
    one = aggregate_by_dataset(ROWS, filters=Filters(runs="a", splits="val"))
    assert (one["run"], one["split"], one["overall"]["mean"], one["overall"]["items"]) == ("a", "val", 20.0, 2)
    whole = aggregate_by_dataset(ROWS, together=True)
    assert (whole["run"], whole["split"], whole["overall"]["mean"], whole["overall"]["count"]) == (
        None,
        None,
        107.0,
        12,
    )
    each = aggregate_by_run(ROWS)
    assert [(part["run"], part["split"], part["overall"]["mean"]) for part in each] == [
        ("a", "train", 1.0), ("a", "val", 20.0), ("b", None, 300.0),
    ]  # fmt: skip


def test_the_error_names_five_parts():
    """And the number of the others."""
    with pytest.raises(InputError, match=r"hold 7 runs and splits.*4, \(without a split\); and 2 more\): choose"):
        aggregate_by_dataset([{"run": str(number), "loss": 1.0} for number in range(7)])


def test_one_run_and_split_has_the_keys_of_before():
    """With run and split beside them, from all functions; no rows are one part of none."""
    rows = [row for row in ROWS if row["split"] == "val"]
    (each,), one = aggregate_by_run(rows), aggregate_by_dataset(rows)
    assert same(each, one, 1000)
    assert list(one) == ["run", "split", "overall", "datasets", "ranking"]
    (none,) = aggregate_by_run([])
    assert (none["run"], none["split"], none["overall"]["count"], none["datasets"]) == (None, None, 0, {})


def test_parts_keep_what_they_have_in_common():
    """Summed splits of one run are of this run."""
    found = aggregate_by_dataset(ROWS, filters=Filters(runs="a"), together=True)
    assert (found["run"], found["split"]) == ("a", None)


def test_a_list_of_examples_is_of_one_run():
    """Each has its own highest, cut to top_k; together, an example has the mean over all."""
    for part, mean in zip(aggregate_by_run(ROWS, top_k=1), (1.5, 20.5, 300.5), strict=True):
        assert [(one["sample_id"], one["mean"]) for one in part["overall"]["highest"]] == [("y", mean)]
    (first,) = aggregate_by_dataset(ROWS, 1, together=True)["overall"]["highest"]
    assert (first["sample_id"], first["count"]) == ("y", 6)


def test_json_has_each_run_and_an_example_for_each(tmp_path):
    """Or one result and one line for each example, if they are summed or filtered."""
    export_json(ROWS, tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text())
    assert list(found) == ["runs", "left_out", "items"]
    assert same(found["runs"], aggregate_by_run(ROWS), 1000)
    assert [(item["run"], item["split"], item["sample_id"], item["mean"]) for item in found["items"]] == [
        (run, split, name, mean + shift)
        for (run, split), mean in zip(PARTS, (1.0, 20.0, 300.0), strict=True)
        for name, shift in (("x", -0.5), ("y", 0.5))
    ]
    export_json(ROWS, tmp_path / "x.json", together=True)
    found = json.loads((tmp_path / "x.json").read_text())
    assert same(found["overall"], aggregate_by_dataset(ROWS, together=True)["overall"], 1000)
    assert [(item["run"], item["sample_id"], item["count"]) for item in found["items"]] == [
        (None, "x", 6),
        (None, "y", 6),
    ]
    export_json(ROWS, tmp_path / "x.json", filters=Filters(splits="val"))
    found = json.loads((tmp_path / "x.json").read_text())
    assert (found["split"], [item["mean"] for item in found["items"]]) == ("val", [19.5, 20.5])


def test_captions_are_judged_once_for_all_runs():
    """The loss is the highest of the means of a run and split, never a mean over them."""
    found = flag_bad_captions(ROWS)
    assert found["checked"] == 2
    assert [(one["sample_id"], one["loss"]) for one in found["rules"]["short"]["examples"]] == [
        ("y", 300.5),
        ("x", 299.5),
    ]
    found = flag_bad_captions(ROWS, filters=Filters(runs="a"))
    assert [one["loss"] for one in found["rules"]["short"]["examples"]] == [20.5, 19.5]
