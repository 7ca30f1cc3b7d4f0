"""Targets in the columns of Parquet files."""

import io
import json
import sys

import pytest

from lossreg.errors import LossregError, MissingLibraryError
from lossreg.health.targets import examine
from lossreg.health.targets.report import Flag, Mask, Unreadable
from lossreg.health.targets.sources import read_targets

from .masks import Image, disc, message, read, shares


@pytest.fixture
def table(tmp_path):
    """Return a function that writes the rows of a query as tmp_path/name.parquet."""
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed, so no Parquet file can be read")

    def write(query, name="t", parameters=()):
        path = tmp_path / f"{name}.parquet"
        with duckdb.connect() as connection:
            connection.execute("CREATE TABLE t AS " + query, list(parameters))
            connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
        return path

    return write


def png(ones):
    buffer = io.BytesIO()
    Image.fromarray(disc(ones=ones)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "values, expected",
    [
        ("(true), (false), (NULL)", [True, False, False]),
        ("(0), (3), (NULL)", [False, True, False]),
        ("(0.5::DOUBLE), ('nan'::DOUBLE), (0)", [True, False, False]),
        ("(1.50::DECIMAL(8,2)), (0)", [True, False]),
    ],
)
def test_a_column_of_flags(table, values, expected):
    """As in a column has_segmentation; NULL and NaN are false."""
    path = table(f'SELECT * FROM (VALUES {values}) v("has mask")')
    found = read(path, column="has mask")
    assert found == [Flag(f"row {number}", each) for number, each in enumerate(expected)]


def test_a_column_of_encoded_images(table):
    """As bytes, and as records of bytes and path. A row without an image counts as empty, a broken one is reported."""
    path = table("SELECT unnest([?, ?, NULL, 'x'::BLOB]) AS mask", parameters=[png(3), png(0)])
    found = read(path, column="mask")
    assert shares(found[:2]) == [3, 0]
    assert found[2] == Mask("row 2", None)
    assert isinstance(found[3], Unreadable)
    report = examine(found)
    assert (report.masks, report.empty, report.missing, report.unreadable) == (3, 2, 1, 1)
    assert message(report, "missing") == (
        "samples without a mask, which count as empty: 1; leave them out: a loader that fills them with zeros teaches"
        " the model to predict nothing"
    )
    path = table("SELECT {'bytes': ?::BLOB, 'path': 'a.png'} AS mask", "s", [png(3)])
    assert shares(read(path, column="mask")) == [3]


def test_a_column_of_paths(table, tmp_path):
    """From the folder of the table; a missing file is reported."""
    Image.fromarray(disc(ones=6)).save(tmp_path / "m.png")
    path = table("SELECT unnest(['m.png', 'gone.png', '', NULL]) AS mask")
    found = read(path, column="mask")
    assert (found[0].name, shares(found[:1])) == ("row 0, m.png", [6])
    assert found[1].reason.startswith("FileNotFoundError: ")
    assert [each.values for each in found[2:]] == [None, None]


def test_a_column_of_lists(table):
    """Nested, of fixed size, flat; ragged lists and NULL are reported."""
    path = table("SELECT unnest([[[0, 1], [1, 1]], [[0, 0], [0, 0]], NULL, [[1], [1, 1]], [[1, NULL]]]) AS mask")
    found = read(path, column="mask")
    assert shares(found[:2]) == [3, 0]
    assert found[2].values is None
    assert all(isinstance(each, Unreadable) for each in found[3:])
    path = table("SELECT [[0, 1], [1, 1]]::INT[2][2] AS mask, [0, 1.0] AS flat", "fixed")
    assert shares(read(path, column="mask") + read(path, column="flat")) == [3, 1]


RUNS = {"size": [2, 3], "counts": [1, 2, 3]}  # 0, 1, 1, 0, 0, 0 down the columns


def test_a_column_of_runs(table):
    """As records, with counts in a list, as COCO's text, or as bytes; as JSON; and several objects in a row."""
    listed = "{'size': [2, 3], 'counts': [1, 2, 3]}"
    path = table(f"SELECT unnest([{listed}, NULL, {{'size': [2, 3], 'counts': [1, 2]}}]) AS mask")
    first, none, broken = read(path, column="mask")
    assert (first.name, first.values.tolist(), none.values) == ("row 0", [[0, 1, 0], [1, 0, 0]], None)
    assert broken == Unreadable("row 2", "the runs have 3 pixels, the size 2 x 3 has 6")
    for number, counts in enumerate(("'123'", "'123'::BLOB")):
        path = table(f"SELECT {{'counts': {counts}, 'size': [2, 3]}} AS mask", f"c{number}")
        assert shares(read(path, column="mask")) == [2]
    path = table("SELECT unnest(?::VARCHAR[]) AS mask", "json", [[json.dumps(RUNS), "{", '{"size": 3}']])
    first, *others = read(path, column="mask")
    assert (shares([first]), first.name) == ([2], "row 0")
    assert [each.reason.startswith("expected size [height, width] and counts of runs") for each in others] == [True] * 2
    path = table(f"SELECT unnest([[{listed}, {listed}], []]) AS mask", "objects")
    found = read(path, column="mask")
    assert [each.name for each in found] == ["row 0, object 0", "row 0, object 1", "row 1"]
    assert shares(found[:2]) == [2, 2]
    assert found[2].values is None


def test_a_folder_of_parquet_files(table, tmp_path):
    """Its name has characters with a meaning in patterns."""
    (tmp_path / "a[1]*").mkdir()
    table("SELECT true AS ok", "a[1]*/one")
    table("SELECT false AS ok", "a[1]*/two")
    assert [each.present for each in read(tmp_path / "a[1]*", column="ok")] == [True, False]


def test_columns_that_cannot_be_read(table, tmp_path):
    """No name, a wrong name, a type without meaning, no Parquet."""
    path = table("SELECT true AS has_mask, DATE '2020-01-01' AS day")
    (tmp_path / "no.parquet").write_text("no")
    for where, column, text in [
        (path, None, f"{path}: name the column of the targets with --column, one of has_mask, day"),
        (path, "has_msk", f"{path}: unknown column 'has_msk'; did you mean 'has_mask'?"),
        (path, "zzz", f"{path}: unknown column 'zzz'; the columns are has_mask, day"),
        (path, "day", f"{path}: column 'day' has type DATE, which cannot hold masks; expected encoded images, paths, "),
        (tmp_path / "no.parquet", "x", f"{tmp_path / 'no.parquet'}: cannot be read as Parquet: "),
        (tmp_path / "t:x", "x", f"{tmp_path / 't:x'}: no such file or folder; expected "),
        ("t:x", "x", "--column is for Parquet files, but t:x is a loader; leave it out"),
    ]:
        with pytest.raises(LossregError) as caught:
            read_targets(where, column=column)
        assert str(caught.value).startswith(text)


def test_parquet_needs_duckdb(table, monkeypatch):
    """The extra of records."""
    path = table("SELECT true AS ok")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingLibraryError) as caught:
        read_targets(path, column="ok")
    assert str(caught.value) == "check-targets of Parquet: duckdb is not installed; pip install 'lossreg[records]'"
