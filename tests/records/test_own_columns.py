"""Columns of a record: those of later versions and the user's own, from the writer to the reader."""

from pathlib import Path

import pytest
import torch

duckdb = pytest.importorskip("duckdb", reason="the extra records is not installed")
np = pytest.importorskip("numpy", reason="the extra records is not installed")

from lossreg import InputError  # noqa: E402
from lossreg.records import RecordWriter, aggregate_by_dataset  # noqa: E402
from lossreg.records.reader import components, connect, own_columns  # noqa: E402
from lossreg.records.record_schema import VERSION  # noqa: E402

OLD = Path(__file__).parent / "data" / "version_0_1_0"  # two ranks of one run, written by 0.1.0


def read(records, columns, order="1"):
    """Some columns of the records."""
    with connect(records) as connection:
        return connection.execute(f"SELECT {columns} FROM records ORDER BY {order}").fetchall()


def test_shards_of_the_first_version_are_read():
    """They have neither the columns of later versions nor a version; padding is left out as ever."""
    expected = [
        ("a", 0, 1.0, 0.5, None, None, None, None),
        ("b", 0, 2.0, 1.0, None, None, None, None),
        ("c", 0, 11.0, 5.5, None, None, None, None),
        ("a", 1, 101.0, 50.5, None, None, None, None),
        ("b", 1, 102.0, 51.0, None, None, None, None),
        ("c", 1, 111.0, 55.5, None, None, None, None),
    ]
    columns = "sample_id, epoch, loss, loss_dice, condition, draw, unconditional, control"
    assert read(OLD, columns, "epoch, sample_id") == expected
    found = aggregate_by_dataset(OLD)["overall"]
    assert (found["count"], found["items"], found["mean"]) == (6, 3, (1 + 2 * 2 + 11 + 101 + 2 * 102 + 111) / 8)


def test_shards_of_all_versions_are_read_together(tmp_path):
    """The first, this one, and a later one, whose further columns are kept."""
    for shard in OLD.glob("*.parquet"):
        (tmp_path / shard.name).write_bytes(shard.read_bytes())
    with RecordWriter(tmp_path, run="new") as writer:
        writer.add([5.0], sample_ids=["n"], condition=0.5, draw=1, columns={"camera": "left", "size": 512})
    (now,) = tmp_path.glob("new.*")
    later = tmp_path / "later.rank00000.18.000000.parquet"
    duckdb.connect().execute(
        f"COPY (SELECT * REPLACE ('later' AS run), 0.25 AS teacher, [1, 2] AS boxes FROM '{now}') TO '{later}'"
        f" (FORMAT parquet, KV_METADATA {{lossreg_schema: '{VERSION + 1}'}})"
    )
    found = read(tmp_path, "run, condition, draw, own_camera, own_size, own_teacher, own_boxes", "run, sample_id, loss")
    assert found[0] == ("later", 0.5, 1, "left", 512, 0.25, "[1, 2]")
    assert found[1] == ("new", 0.5, 1, "left", 512, None, None)
    assert found[2:] == [("old", None, None, None, None, None, None)] * 6


def test_the_version_stands_in_the_shard(tmp_path):
    """In its metadata, where every reader of Parquet finds it."""
    with RecordWriter(tmp_path) as writer:
        writer.add([1.0])
    (shard,) = tmp_path.iterdir()
    found = duckdb.connect().execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(shard)]).fetchall()
    assert (b"lossreg_schema", str(VERSION).encode()) in [(bytes(key), bytes(value)) for key, value in found]


def test_own_columns_keep_their_types(tmp_path):
    """Text, numbers and truth values, for all or for each; NULL where they are missing."""
    with RecordWriter(tmp_path) as writer:
        writer.add(
            [1.0, 2.0],
            step=0,
            columns={"class": ["cat", None], "size": 512, "night": np.array([True, False]), "iou": torch.ones(2)},
        )
        writer.add([3.0, 4.0], step=1, columns={"size": [256, None], "iou": 0.5, "night": None, "key": ["k", "l"]})
        writer.add([5.0], step=2, columns={"unknown": [None], "size": [None]})
    with connect(tmp_path) as connection:
        kinds = {"class": "VARCHAR", "iou": "DOUBLE", "key": "VARCHAR", "night": "BOOLEAN", "size": "BIGINT"}
        assert own_columns(connection) == kinds
        assert components(connection) == []
    assert read(tmp_path, "loss, own_class, own_size, own_night, own_iou, own_key") == [
        (1.0, "cat", 512, True, 1.0, None),
        (2.0, None, 512, False, 1.0, None),
        (3.0, None, 256, None, 0.5, "k"),
        (4.0, None, None, None, 0.5, "l"),
        (5.0, None, None, None, None, None),
    ]


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"Epoch": 1}, "columns: unknown column 'Epoch'; did you mean 'epoch'? A column of your own needs a name that"),
        ({"sampel_ids": 1}, "columns: unknown column 'sampel_ids'; did you mean 'sample_id'?"),
        ({"spilt": 1}, "columns: unknown column 'spilt'; did you mean 'split'?"),
        ({"los": 1}, "columns: unknown column 'los'; did you mean 'loss'?"),
        ({"epoch": 1}, "columns: 'epoch' is a column already; give it as add(epoch=...)"),
        ({"sample_id": ["a"]}, "columns: 'sample_id' is a column already; give it as add(sample_ids=...)"),
        ({"loss_dice": 1.0}, "columns: 'loss_dice' cannot be a column of your own: loss_... is a component"),
        ({"file_row_number": 1}, "columns: 'file_row_number' cannot be a column of your own: DuckDB has it itself;"),
        ({"File_Index": 1}, "columns: 'File_Index' cannot be a column of your own: DuckDB has it itself; rename it,"),
        ({5: 1}, "columns: the name of a column must be text, got 5"),
        ({"a\nb": 1}, "columns: the name of a column must have 1 to 100 printable characters"),
        ({"\ud83d": 1}, "columns: the name of a column must have 1 to 100 printable characters"),
        ({"": 1}, "columns: the name of a column must have 1 to 100 printable characters"),
        ({"camera": 1, "Camera": 2}, "columns: 'camera' and 'Camera' differ in case alone; rename one"),
        ({"camera": ["left", 2]}, "row 1, column 'camera': expected str as in row 0, one type in all, got 2 (int)"),
        ({"camera": [1, True]}, "row 1, column 'camera': expected int as in row 0, one type in all, got True (bool)"),
        ({"camera": [b"x", b"y"]}, "row 0, column 'camera': expected text, True, False, a number or None, got b'x'"),
        ({"camera": [1, 2**63]}, "row 1, column 'camera': expected an integer of 64 bits or None, got 92233720"),
        ({"camera": [1]}, "camera: got 1, and there are 2 losses; give one per example"),
        ({"size": "wide"}, "column 'size' has text, and had numbers before; give one type, or give the other values a"),
        (5, "columns must be a mapping of names to values, got 5 (int)"),
        (["camera"], "columns must be a mapping of names to values, got ['camera'] (list)"),
    ],
)
def test_own_columns_that_are_refused(tmp_path, columns, message):
    """The message has the name and the remedy; nothing is added, and no type is remembered."""
    with RecordWriter(tmp_path) as writer:
        writer.add([1.0, 2.0], columns={"size": [512, 0.5]})
        with pytest.raises(InputError) as caught:
            writer.add([3.0, 4.0], columns=columns)
        assert str(caught.value).startswith(message)
        assert writer.waiting == 2
        writer.add([3.0, 4.0], columns={"camera": ["left", "right"]})


def test_names_that_are_not_near(tmp_path):
    """A column may have any other name, also one that a query of lossreg uses itself."""
    names = ["timestep", "id", "score", "row_id", "filename", "key", "mean", "median", "kind", "own_size", "Größe"]
    with RecordWriter(tmp_path) as writer:
        writer.add([1.0], sample_ids=["a"], columns={name: name.upper() for name in names})
    with connect(tmp_path) as connection:
        assert own_columns(connection) == dict.fromkeys(sorted(names), "VARCHAR")
        columns = ", ".join(f'"own_{name}"' for name in names)
        found = connection.execute(f"SELECT {columns} FROM records").fetchall()
        assert found == [tuple(name.upper() for name in names)]
        assert aggregate_by_dataset(connection)["overall"]["highest"][0]["sample_id"] == "a"


@pytest.mark.parametrize(
    "given, message",
    [
        ({"condition": "high"}, "row 0, column 'condition': expected a number or None, got 'high' (str)"),
        ({"condition": True}, "row 0, column 'condition': expected a number or None, got True (bool)"),
        ({"draw": 0.5}, "row 0, column 'draw': expected an integer of 64 bits or None, got 0.5 (float)"),
        ({"unconditional": 1}, "row 0, column 'unconditional': expected True, False or None, got 1 (int)"),
        ({"control": ["yes", None]}, "row 0, column 'control': expected True, False or None, got 'yes' (str)"),
        ({"control": [True]}, "control: got 1, and there are 2 losses; give one per example"),
    ],
)
def test_values_that_the_columns_cannot_hold(tmp_path, given, message):
    """The message has the row, the column and what it holds."""
    with pytest.raises(InputError) as caught:
        RecordWriter(tmp_path).add([1.0, 2.0], **given)
    assert str(caught.value) == message


def test_what_an_example_met_may_stay_on_the_device(tmp_path):
    """A timestep is drawn there: it leaves with the losses, in one copy."""
    meta = RecordWriter(tmp_path)
    losses, where = torch.ones(2, device="meta"), {"device": "meta"}
    meta.add(
        losses,
        condition=torch.ones(2, dtype=torch.int64, **where),
        unconditional=torch.ones(2, dtype=torch.bool, **where),
    )
    meta.add(losses, condition=torch.tensor(0.5, **where))
    assert [batch.names for batch in meta._buffer] == [("loss", "condition", "unconditional"), ("loss", "condition")]
    with pytest.raises(InputError, match=r"condition must be numbers, got torch\.bool"):
        meta.add(losses, condition=torch.ones(2, dtype=torch.bool, **where))
    with pytest.raises(InputError, match=r"unconditional must be truth values, got torch\.float32"):
        meta.add(losses, unconditional=torch.ones(2, **where))
    with pytest.raises(InputError, match=r"condition has shape \(3,\), and there are 2 losses; give one per example"):
        meta.add(losses, condition=torch.ones(3, **where))
    with pytest.raises(InputError, match="control is on meta, and reading it would wait for the device"):
        meta.add(losses, control=torch.ones(2, dtype=torch.bool, **where))
    meta._buffer.clear()  # there are no values to write
    meta._rows = 0
