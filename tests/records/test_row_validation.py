"""Rows from users: the same columns from every form, and errors that name row and column."""

import math
from pathlib import Path

import pytest
import torch

from lossreg import InputError, RecordsError, ShapeError

duckdb = pytest.importorskip("duckdb", reason="the extra records is not installed")
np = pytest.importorskip("numpy", reason="the extra records is not installed")

from lossreg.records.record_schema import COLUMNS  # noqa: E402
from lossreg.records.row_validation import chunks  # noqa: E402
from lossreg.records.shards import write_shard  # noqa: E402

NAN = math.nan


def written(rows, folder, size=2):
    """The rows, written and read; NaN as text."""
    for number, chunk in enumerate(chunks(rows, size=size)):
        write_shard(folder, f"{number}.parquet", chunk)
    found = duckdb.connect().sql(f"SELECT * FROM read_parquet('{folder}/*.parquet', union_by_name=true, filename=true)")
    columns = found.columns[:-1]
    return [dict(zip(columns, map(shown, row), strict=False)) for row in found.order("filename").fetchall()]


def shown(value):
    return "nan" if isinstance(value, float) and math.isnan(value) else value


FULL = {
    "run": ["r", "r", "s"],
    "rank": [0, 1, None],
    "step": [2**40, None, 3],
    "epoch": [None, 1, 2],
    "split": [None, None, None],
    "dataset": ["a", None, "b"],
    "sample_id": ["1", "x", None],
    "path": ["a/b.png", None, "c"],
    "caption": ["", "text", None],
    "weight": [1.0, 2.5, 1.0],
    "loss": [0.5, NAN, -math.inf],
    "condition": [0.5, None, NAN],
    "draw": [0, None, 2**40],
    "unconditional": [True, None, False],
    "control": [None, None, True],
    "loss_dice": [None, NAN, 0.25],
    "camera": ["left", None, "right"],
    "size": [512, 2**60, None],
    "ratio": [1, None, 0.5],
    "night": [None, False, True],
}
AS_ROWS = [dict(zip(FULL, row, strict=True)) for row in zip(*FULL.values(), strict=True)]
EXPECTED = [{name: shown(value) for name, value in row.items()} for row in AS_ROWS]


@pytest.mark.parametrize(
    "rows",
    [
        AS_ROWS,
        (row for row in AS_ROWS),
        [{name: value for name, value in row.items() if value is not None} for row in AS_ROWS],
        [row | {"loss": torch.tensor(row["loss"]), "weight": np.float32(row["weight"])} for row in AS_ROWS],
        FULL,
        FULL | {"loss": torch.tensor(FULL["loss"]), "weight": np.array(FULL["weight"]), "split": None},
        FULL | {"loss": np.array(FULL["loss"], dtype=object), "dataset": np.array(FULL["dataset"], dtype=object)},
        FULL
        | {
            "sample_id": [1, "x", None],
            "path": [Path("a/b.png"), None, "c"],
            "loss": [torch.tensor(0.5), NAN, np.float64(-math.inf)],
            "epoch": np.ma.masked_array([0, 1, 2], mask=[True, False, False]),
            "rank": [torch.tensor(0), np.int32(1), None],
            "loss_dice": np.ma.masked_array([0, NAN, 0.25], mask=[True, False, False]),
        },
    ],
    ids=["rows", "generator", "sparse", "rows of tensors", "columns", "arrays", "objects", "mixed"],
)
def test_all_forms_are_one(rows, tmp_path):
    """Written and read again: NaN is not NULL, NULL is not NaN, and no value is rounded."""
    assert written(rows, tmp_path) == EXPECTED


def test_missing_columns(tmp_path):
    """A row is its loss; the weight is 1. Every file has every column, with its type."""
    (row,) = written([{"loss": 1}], tmp_path)
    assert row == dict.fromkeys(COLUMNS) | {"loss": 1.0, "weight": 1.0}
    types = duckdb.connect().sql(f"DESCRIBE SELECT * FROM read_parquet('{tmp_path}/*.parquet')").fetchall()
    assert [(row[0], row[1]) for row in types] == list(COLUMNS.items())


@pytest.mark.parametrize("value", [0.1, 1e-320, -0.0, 1.7976931348623157e308, 2**53 + 1, -3])
def test_numbers_are_kept_to_the_last_bit(value, tmp_path):
    """Also beside NaN, which DuckDB reads apart."""
    found = written([{"loss": value}, {"loss": NAN}], tmp_path)
    assert found[0]["loss"].hex() == float(value).hex()
    assert found[1]["loss"] == "nan"


def test_a_generator_is_read_in_chunks():
    """No more of it than a chunk at a time."""
    taken = []

    def rows():
        for number in range(10):
            taken.append(number)
            yield {"loss": number}

    found = chunks(rows(), size=4)
    assert next(found)["loss"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert len(taken) == 4
    assert [len(chunk["loss"]) for chunk in found] == [4, 2]


@pytest.mark.parametrize("rows", [[], {"loss": []}, iter(())])
def test_no_rows(rows):
    """No chunks."""
    assert list(chunks(rows)) == []


def test_numbers_that_look_like_text_stay_text(tmp_path):
    """And a text after very many that are missing is one."""
    rows = [{"loss": 1.0, "caption": None, "sample_id": "007"}] * 9999 + [{"loss": 1.0, "caption": "12"}]
    found = written(rows, tmp_path, size=10_000)
    assert (found[0]["sample_id"], found[-1]["caption"], found[0]["caption"]) == ("007", "12", None)


@pytest.mark.parametrize(
    "rows, message",
    [
        ("abc", "records must be an iterable of mappings, or a mapping of columns, got 'abc' (str)"),
        (3, "records must be an iterable of mappings, or a mapping of columns, got 3 (int)"),
        ([{"loss": 1}, 5], "row 1 is 5 (int), expected a mapping such as {'loss': 0.5, 'dataset': 'a'}"),
        ([{"loss": 1}, {"dataset": "a"}], "row 1 has no 'loss', which every row needs"),
        ({"dataset": ["a"]}, "the columns have no 'loss', which every row needs"),
        ([{"loss": 1, "lose": 1}], "row 0: unknown column 'lose'; did you mean 'loss'?"),
        (
            {"loss": [1], "sampleid": [1]},
            "the columns: unknown column 'sampleid'; did you mean 'sample_id'?",
        ),
        ([{"loss": 1, 5: 1}], "row 0: the name of a column must be text, got 5"),
        ([{"loss": 1, "loss_": 1}], "row 0: unknown column 'loss_'; did you mean 'loss'?"),
        ([{"loss": 1, "loss_\ud83d": 1}], r"row 0: no file can hold the name 'loss_\ud83d'; rename the component"),
        ([{"loss": 1, "loss_a\0": 1}], r"row 0: no file can hold the name 'loss_a\x00'; rename the component"),
        ([{"loss": 1, "loss_a": 1, "loss_A": 1}], "row 0: 'loss_a' and 'loss_A' differ in case alone; rename one"),
        ([{"loss": 1}] * 3 + [{"loss": "x"}], "row 3, column 'loss': expected a number, got 'x' (str)"),
        ([{"loss": True}], "row 0, column 'loss': expected a number, got True (bool)"),
        ([{"loss": torch.tensor(True)}], "row 0, column 'loss': expected a number, got True (bool)"),
        ([{"loss": torch.ones(2)}], "row 0, column 'loss': expected a number, got tensor([1., 1.]) (Tensor)"),
        ([{"loss": 10**400}], "row 0, column 'loss': expected a number, got 1000"),
        ([{"loss": 1, "loss_a": "x"}], "row 0, column 'loss_a': expected a number or None, got 'x' (str)"),
        ([{"loss": 1, "weight": 0}], "row 0, column 'weight': expected a finite number > 0, got 0.0 (float)"),
        ([{"loss": 1, "weight": NAN}], "row 0, column 'weight': expected a finite number > 0, got nan (float)"),
        ([{"loss": 1, "weight": "x"}], "row 0, column 'weight': expected a number > 0, got 'x' (str)"),
        ([{"loss": 1, "epoch": 1.5}], "row 0, column 'epoch': expected an integer of 32 bits or None, got 1.5 (float)"),
        ([{"loss": 1, "step": 2**63}], "row 0, column 'step': expected an integer of 64 bits or None, got 9223"),
        ([{"loss": 1, "rank": True}], "row 0, column 'rank': expected an integer of 32 bits or None, got True (bool)"),
        ([{"loss": 1, "dataset": 5}], "row 0, column 'dataset': expected text or None, got 5 (int)"),
        ([{"loss": 1, "path": 5}], "row 0, column 'path': expected text, a path or None, got 5 (int)"),
        ([{"loss": 1, "sample_id": 0.5}], "row 0, column 'sample_id': expected text, an integer or None, got 0.5"),
        ({"loss": 1.0}, "column 'loss' is 1.0 (float); expected a list, an array or a tensor with one value per row"),
        ({"loss": [1.0], "dataset": "a"}, "column 'dataset' is 'a' (str); expected a list, an array or a tensor"),
    ],
)
def test_wrong_values_have_their_row_and_column(rows, message):
    """The error has row, column, value and allowed values. Rows count from the first of all."""
    with pytest.raises(InputError) as caught:
        list(chunks(rows, size=2))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "rows, message",
    [
        ({"loss": [1, 2], "dataset": ["a"]}, "columns must have the same length, got dataset 1, weight 2, loss 2"),
        ({"loss": torch.ones(2, 2)}, "column 'loss' has shape (2, 2), expected one value per row: (n,)"),
        ({"loss": np.array(1.0)}, "column 'loss' has shape (), expected one value per row: (n,)"),
    ],
)
def test_sizes_that_do_not_fit(rows, message):
    """As errors of shape."""
    with pytest.raises(ShapeError) as caught:
        list(chunks(rows))
    assert str(caught.value) == message.replace("weight 2, ", "")


def test_a_shard_that_cannot_be_written_leaves_nothing(tmp_path):
    """Not even a temporary file."""
    (chunk,) = chunks([{"loss": 1.0}])
    (tmp_path / "taken").mkdir()
    with pytest.raises(RecordsError, match="records cannot be written: Is a directory"):
        write_shard(tmp_path, "taken", chunk)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
