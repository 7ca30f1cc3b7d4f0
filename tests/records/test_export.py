"""Records as CSV and JSON, read back by strict readers."""

import csv
import json
import math
from pathlib import Path

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.errors import LossregError
from lossreg.records.aggregate import aggregate_by_dataset
from lossreg.records.export import export_csv, export_json

from .tolerance import same

ROWS = [
    {"loss": 0.5, "dataset": "a", "path": "x.png", "caption": 'he said "hi",\nand left', "sample_id": "s", "epoch": 0},
    {"loss": 0.1, "dataset": "a", "caption": "=1+1", "sample_id": "s", "epoch": 1},
    {"loss": math.nan, "dataset": "ä", "path": "it's.png"},
    {"loss": -math.inf},
]


def strict(text):
    """JSON without NaN and infinities, which are not part of it."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_csv_reads_back(tmp_path):
    """Header, quotes, line breaks and text that looks like a formula; every loss is what float() reads."""
    path = tmp_path / "it's.csv"
    path.write_text("old")
    export_csv(ROWS, path)
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header == ["path", "dataset", "caption", "loss"]
    assert rows[0] == ["x.png", "a", 'he said "hi",\nand left', "0.5"]
    assert rows[1] == ["", "a", "=1+1", "0.1"]
    assert rows[2] == ["it's.png", "ä", "", "nan"]
    assert rows[3] == ["", "", "", "-inf"]
    assert math.isnan(float(rows[2][3]))
    assert float(rows[3][3]) == -math.inf
    assert [each.name for each in tmp_path.iterdir()] == ["it's.csv"]


def test_json_has_the_aggregates_and_every_example(tmp_path):
    """Strictly, one example per line, with the numbers of the ranking."""
    path = tmp_path / "x.json"
    export_json(ROWS, path, top_k=1)
    text = path.read_text(encoding="utf-8")
    found = strict(text)
    items = found.pop("items")
    assert same(found, aggregate_by_dataset(ROWS, top_k=1), 1)
    assert [(item["dataset"], item["sample_id"], item["count"]) for item in items] == [
        ("", None, 0),
        ("a", "s", 2),
        ("ä", None, 0),
    ]
    assert same(items[1], found["overall"]["highest"][0], 1)
    assert (items[1]["mean"], items[1]["minimum"], items[1]["maximum"]) == (0.3, 0.1, 0.5)
    assert len(text.splitlines()) == len(items) + 2
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]


def test_nothing_to_export(tmp_path):
    """A header; no examples."""
    export_csv([], tmp_path / "x.csv")
    export_json([], tmp_path / "x.json")
    assert (tmp_path / "x.csv").read_text() == "path,dataset,caption,loss\n"
    assert strict((tmp_path / "x.json").read_text())["items"] == []


@pytest.mark.parametrize("export", [export_csv, export_json])
def test_a_file_that_cannot_be_written(export, tmp_path):
    """The error names it; an existing file stays."""
    with pytest.raises(LossregError, match=r"no/x: cannot be written: .*No such file or directory"):
        export(ROWS, tmp_path / "no" / "x")
    old = Path(tmp_path, "old")
    old.write_text("old")
    with pytest.raises(LossregError, match=r"^row 1 has no 'loss'"):
        export([{"loss": 1.0}, {"epoch": 1}], old)
    assert old.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["old"]
