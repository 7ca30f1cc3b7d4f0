"""Records as CSV and JSON, read back by strict readers."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.errors import LossregError
from lossreg.loss import LossOutput
from lossreg.records import Filters, RecordWriter, rank_examples
from lossreg.records.aggregate import aggregate_by_dataset
from lossreg.records.export import export_csv, export_json, harmless

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


HEADER = ["path", "dataset", "caption", "loss", "sample_id", "step", "epoch", "split", "run", "rank", "weight"]
LATER = ["condition", "draw", "unconditional", "control"]


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    return header, rows


def test_csv_reads_back(tmp_path):
    """Header, quotes and line breaks; every loss is what float() reads."""
    path = tmp_path / "it's.csv"
    path.write_text("old")
    export_csv(ROWS, path)
    header, rows = read(path)
    assert header == [*HEADER, *LATER]
    assert rows[0][:7] == ["x.png", "a", 'he said "hi",\nand left', "0.5", "s", "", "0"]
    assert rows[1][:7] == ["", "a", "'=1+1", "0.1", "s", "", "1"]
    assert rows[2][:5] == ["it's.png", "ä", "", "nan", ""]
    assert rows[3][:5] == ["", "", "", "-inf", ""]
    assert rows[3][10:] == ["1.0", "", "", "", ""]
    assert math.isnan(float(rows[2][3]))
    assert float(rows[3][3]) == -math.inf
    assert [each.name for each in tmp_path.iterdir()] == ["it's.csv"]


def test_csv_has_every_column(tmp_path):
    """The components of the loss and your own columns as well, under their names."""
    with RecordWriter(tmp_path / "records", run="r", rank=2) as writer:
        output = LossOutput(torch.tensor(0.5), {}, torch.tensor([0.5]), {"dice": torch.tensor([0.25])})
        more = {"condition": 0.75, "draw": 3, "unconditional": False, "control": True}
        facts = {"path": "p.png", "caption": "a dog", "weight": 2.0, **more}
        writer.add(output, sample_ids=["s"], dataset="d", split="val", step=7, epoch=1, columns={"bucket": 9}, **facts)
    export_csv(tmp_path / "records", tmp_path / "x.csv")
    header, rows = read(tmp_path / "x.csv")
    assert header == [*HEADER, "loss_dice", *LATER, "bucket"]
    (row,) = rows
    assert row[:11] == ["p.png", "d", "a dog", "0.5", "s", "7", "1", "val", "r", "2", "2.0"]
    assert row[11:] == ["0.25", "0.75", "3", "false", "true", "9"]


COMPUTED = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "-1e", "=", "-1\n=2"]
HARMLESS = ["-1", "+1.5", "-1.5e-7", "1+1", "a=b", " =1", "'=1"]


def test_csv_has_no_formulas(tmp_path):
    """Text that a spreadsheet would compute gets a ' before it, in every column of text; numbers stay numbers."""
    texts = [*COMPUTED, *HARMLESS]
    rows = [
        {"loss": -0.5, "sample_id": text, "path": text, "dataset": text, "run": text, "split": text} for text in texts
    ]
    export_csv([row | {"caption": row["path"]} for row in rows], tmp_path / "x.csv")
    wanted = ["'" + text for text in COMPUTED] + HARMLESS
    for row, text in zip(read(tmp_path / "x.csv")[1], wanted, strict=True):
        assert [row[place] for place in (0, 1, 2, 4, 7, 8)] == [text] * 6
        assert row[3] == "-0.5"
    assert list(map(harmless, texts)) == wanted
    export_csv(rows, tmp_path / "x.csv", formulas=True)
    assert [row[4] for row in read(tmp_path / "x.csv")[1]] == texts


def test_csv_of_some_rows(tmp_path):
    """Those that the filters leave."""
    export_csv(ROWS, tmp_path / "x.csv", filters=Filters(epochs=1))
    assert [row[3] for row in read(tmp_path / "x.csv")[1]] == ["0.1"]


def test_json_has_the_aggregates_and_every_example(tmp_path):
    """Strictly, one example per line, with the numbers of the ranking."""
    path = tmp_path / "x.json"
    export_json(ROWS, path, top_k=1)
    text = path.read_text(encoding="utf-8")
    found = strict(text)
    items = found.pop("items")
    assert found.pop("left_out") == {}
    assert same(found, aggregate_by_dataset(ROWS, top_k=1), 1)
    assert [(item["dataset"], item["sample_id"], item["count"]) for item in items] == [
        ("", None, 0),
        ("a", "s", 2),
        ("ä", None, 0),
    ]
    assert (items[1].pop("run"), items[1].pop("split")) == (None, None)
    ranking = rank_examples(ROWS, top_k=1)
    assert found["ranking"] == {name: getattr(ranking, name) for name in ("reliability", "sure", "note")}
    (first,) = ranking.examples
    scores = {name: items[1][name] for name in ("looks", "score", "error", "verdict")}
    assert (first.sample_id, scores) == (items[1]["sample_id"], {name: getattr(first, name) for name in scores})
    assert same(items[1], found["overall"]["highest"][0], 1)
    assert (items[1]["mean"], items[1]["minimum"], items[1]["maximum"]) == (0.3, 0.1, 0.5)
    assert len(text.splitlines()) == len(items) + 2
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]


def test_nothing_to_export(tmp_path):
    """A header; no examples."""
    export_csv([], tmp_path / "x.csv")
    export_json([], tmp_path / "x.json")
    assert (tmp_path / "x.csv").read_text() == ",".join([*HEADER, *LATER]) + "\n"
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
