"""Reading records: duplicates, missing values and broken files."""

import os
from pathlib import Path

import pytest

duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.errors import LossregError, RecordsError  # noqa: E402
from lossreg.records import aggregate_by_dataset  # noqa: E402
from lossreg.records.reader import components, connect, left_out, own_columns  # noqa: E402
from lossreg.records.row_validation import chunks  # noqa: E402
from lossreg.records.shards import shard_name, write_shard  # noqa: E402

EARLY, LATE = "0" * 15 + "1abcd", "0" * 15 + "2abcd"


def write(folder, rows, name="x.parquet"):
    """One shard of rows."""
    (chunk,) = chunks(rows)
    return write_shard(folder, name, chunk)


def read(records, columns="sample_id, loss"):
    """Some columns of the records, sorted."""
    with connect(records) as connection:
        return sorted(connection.execute(f"SELECT {columns} FROM records").fetchall(), key=repr)


def counted(records):
    """How many rows of each run are left out."""
    with connect(records) as connection:
        found = left_out(connection)
    assert isinstance(records, list) or left_out(records) == found
    return found


def rows(*losses, **values):
    """A row for each loss, with samples a, b, c, ..."""
    return [{"loss": loss, "sample_id": "abcdef"[number]} | values for number, loss in enumerate(losses)]


def test_padding_is_left_out_of_the_higher_rank(tmp_path):
    """Of one sample in one epoch and run, the lowest rank's; other epochs, runs and rows without a sample_id stay."""
    write(tmp_path, rows(1.0, 2.0, rank=0, epoch=0, run="r"), shard_name("r", 0, EARLY, 0))
    second = [
        *rows(8.0, 9.0, rank=1, epoch=0, run="r"),
        {"loss": 5.0, "sample_id": "a", "epoch": 1, "rank": 1, "run": "r"},
    ]
    write(tmp_path, [*second, {"loss": 7.0, "rank": 1, "epoch": 0, "run": "r"}], shard_name("r", 1, EARLY, 0))
    write(tmp_path, rows(4.0, rank=1, epoch=0, run="other"), shard_name("other", 1, EARLY, 0))
    assert read(tmp_path) == [("a", 1.0), ("a", 4.0), ("a", 5.0), ("b", 2.0), (None, 7.0)]
    assert counted(tmp_path) == {"r": 2}


def test_padding_in_memory_and_in_files_of_other_names(tmp_path):
    """Ranks are found in the rows; without an epoch, a step is one."""
    both = [*rows(1.0, rank=0, step=3), *rows(9.0, rank=1, step=3), *rows(5.0, rank=1, step=4)]
    write(tmp_path, both[:1], "one.parquet")
    write(tmp_path, both[1:], "two.parquet")
    assert read(both) == read(tmp_path) == [("a", 1.0), ("a", 5.0)]


def test_a_resumed_run_has_each_step_once(tmp_path):
    """That of the latest session. Steps of an earlier one alone stay, and so do rows with neither step nor epoch."""
    common = {"rank": 0, "run": "r"}
    early = [*rows(1.0, step=1, **common), *rows(2.0, step=2, epoch=0, **common), *rows(3.0, **common)]
    write(tmp_path, early, shard_name("r", 0, EARLY, 0))
    write(tmp_path, [*rows(20.0, step=2, epoch=0, **common), *rows(30.0, **common)], shard_name("r", 0, LATE, 0))
    assert read(tmp_path) == [("a", 1.0), ("a", 20.0), ("a", 3.0), ("a", 30.0)]
    assert counted(tmp_path) == {"r": 1}


def test_what_is_left_out_is_counted_by_run(tmp_path):
    """Where nothing is left out, no run is listed; rows without a run have the name ''."""
    write(tmp_path, rows(1.0, 2.0, 3.0, run="r", epoch=0), shard_name("r", 0, EARLY, 0))
    write(tmp_path, rows(4.0, run="other", epoch=0), shard_name("other", 0, EARLY, 0))
    assert counted(tmp_path) == {}
    write(tmp_path, rows(1.0, 2.0, run="r", epoch=0), shard_name("r", 0, LATE, 0))
    write(tmp_path, rows(4.0, run="other", epoch=0), shard_name("other", 0, LATE, 0))
    assert counted(tmp_path) == {"other": 1, "r": 2}
    assert counted([*rows(1.0, rank=0, step=3), *rows(9.0, rank=1, step=3)]) == {"": 1}


def test_draws_are_no_repetitions(tmp_path):
    """An evaluation computes an example several times in a step; each draw is left out as any row is."""
    losses = {0: 0.0, 1: 1.0, None: 5.0}
    common = {"sample_id": "a", "step": 3, "run": "r"}
    drawn = [
        {"loss": 10.0 * rank + loss, "rank": rank, "draw": draw, **common}
        for rank in (0, 1)
        for draw, loss in losses.items()
    ]
    write(tmp_path, drawn[:3], shard_name("r", 0, EARLY, 0))
    write(tmp_path, [*drawn[3:], drawn[3] | {"draw": 2}], shard_name("r", 1, EARLY, 0))
    write(tmp_path, [drawn[1] | {"loss": 100.0}], shard_name("r", 0, LATE, 0))
    assert read(tmp_path, "draw, loss") == [(0, 0.0), (1, 100.0), (2, 10.0), (None, 5.0)]
    assert counted(tmp_path) == {"r": 4}


def test_a_resumed_epoch_has_each_sample_once(tmp_path):
    """By its sample_id or, without one, its path. Rows with neither cannot be identified: they stay."""
    common = {"rank": 0, "run": "r", "epoch": 4}
    nameless = {"loss": 9.0, **common}
    write(tmp_path, [*rows(1.0, 2.0, **common), nameless, {"path": "p", **nameless}], shard_name("r", 0, EARLY, 0))
    late = [*rows(10.0, **common), nameless, {"loss": 90.0, "path": "p", **common}, *rows(5.0, split="val", **common)]
    write(tmp_path, late, shard_name("r", 0, LATE, 0))
    assert read(tmp_path) == [("a", 10.0), ("a", 5.0), ("b", 2.0), (None, 9.0), (None, 9.0), (None, 90.0)]


def test_shards_of_different_components(tmp_path):
    """By name; NULL where a shard has none. Names may hold anything."""
    write(tmp_path, [{"loss": 1.0, "loss_dice": 2.0}], "a.parquet")
    write(tmp_path, [{"loss": 3.0, 'loss_"; --': 4.0}], "b.parquet")
    with connect(tmp_path) as connection:
        assert components(connection) == ['loss_"; --', "loss_dice"]
    assert read(tmp_path, 'loss_dice, "loss_""; --"') == [(2.0, None), (None, 4.0)]


def test_a_directory_whose_name_is_a_pattern(tmp_path):
    """Quotes and wildcards of DuckDB; a folder that matches the pattern is not read."""
    folder, other = tmp_path / "it's [ab]*", tmp_path / "it's a"
    for place, loss in ((folder, 1.0), (other, 2.0)):
        place.mkdir()
        write(place, [{"loss": loss}])
    assert read(folder, "loss") == [(1.0,)]


def test_leftovers_and_folders_are_ignored(tmp_path):
    """Temporary files of killed writers, and files in folders."""
    write(tmp_path, [{"loss": 1.0}])
    (tmp_path / ".x.parquet").write_text("half")
    (tmp_path / ".y.parquet.part").write_text("half")
    (tmp_path / "inner").mkdir()
    write(tmp_path / "inner", [{"loss": 2.0}])
    assert read(str(tmp_path), "loss") == [(1.0,)]


def test_missing_values():
    """Empty names are none, a weight is 1, and no dataset is ''."""
    assert read([{"loss": 1.0, "sample_id": "", "path": ""}], "dataset, sample_id, path, weight") == [
        ("", None, None, 1.0)
    ]
    assert read([]) == []


def test_a_connection_is_yielded_again():
    """So that rows of a generator are read once for several queries."""
    with connect(iter([{"loss": 1.0}])) as first, connect(first) as second:
        assert second is first


def test_nothing_is_left_behind(tmp_path):
    """The temporary folder goes, also after an error."""

    def fail():
        assert len(os.listdir(tmp_path)) == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), connect([{"loss": 1.0}], temp_directory=tmp_path):
        fail()
    assert os.listdir(tmp_path) == []


def queried(records, options):
    with connect(records, **options) as connection:
        connection.execute("SELECT sum(loss), max(caption) FROM records").fetchall()


def message(records, **options):
    with pytest.raises(LossregError) as caught:
        queried(records, options)
    return str(caught.value)


def test_directories_that_cannot_be_read(tmp_path):
    """Each error has a remedy."""
    assert message(tmp_path / "no") == f"{tmp_path}/no: the directory of records does not exist; check the path"
    assert message(tmp_path) == f"{tmp_path}: contains no *.parquet; shards are written by lossreg.records.RecordWriter"
    file = write(tmp_path, [{"loss": 1.0}])
    assert message(file) == f"{file}: the directory of records is a file; give its directory"
    lost = message([], temp_directory=tmp_path / "no")
    assert lost == f"no temporary folder can be created in {tmp_path}/no: No such file or directory"


@pytest.mark.parametrize("name", ["file_row_number", "File_Index"])
def test_a_column_that_hides_the_number_of_a_row(tmp_path, name):
    """DuckDB can write one itself. With it, rows would be taken for others, so the shard is refused."""
    good = write(tmp_path, rows(1.0, 2.0))
    duckdb.connect().execute(f"COPY (SELECT *, 7 AS {name} FROM '{good}') TO '{tmp_path}/y.parquet'")
    assert message(tmp_path) == (
        f"{tmp_path}/y.parquet: not a shard of records: its column '{name}' hides the number of a row in DuckDB; write"
        f" it without, as by SELECT * EXCLUDE ({name}); shards are written by lossreg.records.RecordWriter: move the"
        " file elsewhere"
    )


def test_columns_of_other_types(tmp_path):
    """A truth value is not guessed from a number, nor a number from a date."""
    good = write(tmp_path, rows(1.0))
    for name, value, expected in (
        ("control", "1", "INTEGER, expected truth values"),
        ("condition", "true", "BOOLEAN, expected numbers"),
        ("loss_dice", "DATE '2026-01-01'", "DATE, expected numbers"),
    ):
        changed = f"SELECT * EXCLUDE ({name})" if name == "control" or name == "condition" else "SELECT *"
        duckdb.connect().execute(f"COPY ({changed}, {value} AS {name} FROM '{good}') TO '{tmp_path}/y.parquet'")
        assert f"its column '{name}' contains {expected}" in message(tmp_path)


def test_a_foreign_column_is_kept_in_a_type_that_queries_know(tmp_path):
    """Numbers of any width stay numbers; text and numbers together are text, and so is all else."""
    good = write(tmp_path, rows(1.0))
    for number, columns in enumerate(
        (
            "1::UTINYINT AS a, 2 AS b, 3::DECIMAL(9, 2) AS c, DATE '2026-01-02' AS d, {'loss': 1} AS e",
            "2.5 AS a, 'x' AS b, 4 AS c, NULL::DATE AS d, NULL AS e",
        )
    ):
        query = f"SELECT *, {columns} FROM '{good}'"
        duckdb.connect().execute(f"COPY ({query}) TO '{tmp_path}/y{number}.parquet'")
    good.unlink()
    with connect(tmp_path) as connection:
        kinds = {"a": "DOUBLE", "b": "VARCHAR", "c": "DOUBLE", "d": "VARCHAR", "e": "VARCHAR"}
        assert own_columns(connection) == kinds
        found = connection.execute("SELECT own_a, own_b, own_c, own_d FROM records ORDER BY 1").fetchall()
    assert found == [(1.0, "2", 3.0, "2026-01-02"), (2.5, "x", 4.0, None)]


def test_files_that_are_no_shards(tmp_path):
    """The error names the file and the missing part."""
    write(tmp_path, [{"loss": 1.0}], "good.parquet")
    bad = Path(tmp_path, "z.parquet")
    bad.write_text("this is no Parquet file")
    assert message(tmp_path).startswith(f"{bad}: not a shard of records: ")
    assert message(tmp_path).endswith("shards are written by lossreg.records.RecordWriter: move the file elsewhere")
    duckdb.connect().execute(f"COPY (SELECT * EXCLUDE (loss) FROM '{tmp_path}/good.parquet') TO '{bad}'")
    assert f"{bad}: not a shard of records: it has no column 'loss';" in message(tmp_path)
    duckdb.connect().execute(f"COPY (SELECT * REPLACE ('x' AS loss) FROM '{tmp_path}/good.parquet') TO '{bad}'")
    assert "its column 'loss' contains VARCHAR, expected numbers;" in message(tmp_path)


@pytest.mark.tools
def test_a_shard_with_one_damaged_bit(tmp_path):
    """It is read, or refused with its name: no error of Python's own comes out, wherever the bit is."""
    good = write(tmp_path, [{"loss": float(n), "sample_id": f"s{n}", "dataset": "d", "epoch": 0} for n in range(9)])
    data, seen = good.read_bytes(), set()
    for place in range(7, 8 * len(data), 8 * len(data) // 60):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        good.write_bytes(damaged)
        try:
            aggregate_by_dataset(tmp_path)
            seen.add("read")
        except RecordsError as error:
            seen.add("refused" if str(error).startswith(str(tmp_path)) else str(error))
    assert seen == {"read", "refused"}


def test_a_shard_whose_middle_is_damaged(tmp_path):
    """Its end still reads, so only a query finds it."""
    path = write(tmp_path, [{"loss": float(number), "caption": str(number) * 9} for number in range(5000)])
    data = bytearray(path.read_bytes())
    data[100:4000] = bytes(3900)
    path.write_bytes(data)
    assert message(tmp_path).startswith(f"{tmp_path}: records cannot be read: ")


def test_limits_that_are_none(tmp_path):
    """Memory is text with a unit; threads are counted."""
    assert message([], memory_limit="much") == "memory_limit must be text such as '1GB', got 'much'"
    assert message([], threads=0) == "threads must be an integer >= 1, got 0"
    assert message([{"lose": 1.0}]).startswith("row 0: unknown column 'lose'")
