"""Filters of records: by run, split, data set, epoch, step, and any column."""

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from lossreg.errors import InputError
from lossreg.records import Filters
from lossreg.records.filters import filtered
from lossreg.records.reader import connect

# Ten rows, named by their step. Runs alternate; the last five have no split; row 0 has no part "dice".
ROWS = [
    {
        "step": step,
        "epoch": step // 2,
        "run": "ab"[step % 2],
        "split": "train" if step < 5 else None,
        "dataset": "cats" if step < 3 else None,
        "sample_id": f"s{step}",
        "loss": float("nan") if step == 9 else step / 10,
        "loss_dice": float(step) if step else None,
    }
    for step in range(10)
]


def steps(connection):
    return [step for (step,) in connection.execute("SELECT step FROM records ORDER BY 1").fetchall()]


def kept(**arguments):
    with connect(ROWS) as connection, filtered(connection, Filters(**arguments)):
        return steps(connection)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, range(10)),
        ({"runs": "a"}, [0, 2, 4, 6, 8]),
        ({"runs": ["a", "b"]}, range(10)),
        ({"splits": "train"}, range(5)),
        ({"splits": ""}, range(5, 10)),
        ({"datasets": ("cats",)}, range(3)),
        ({"datasets": ""}, range(3, 10)),
        ({"epochs": "1-2"}, [2, 3, 4, 5]),
        ({"epochs": "1:2"}, [2, 3, 4, 5]),
        ({"epochs": 4}, [8, 9]),
        ({"epochs": "4"}, [8, 9]),
        ({"epochs": ":0"}, [0, 1]),
        ({"steps": "8:"}, [8, 9]),
        ({"steps": " 3 - 4 "}, [3, 4]),
        ({"steps": (None, 1)}, [0, 1]),
        ({"runs": "b", "steps": ":4", "where": "loss>=0.3"}, [3]),
    ],
)
def test_arguments_choose_rows(arguments, expected):
    """Each by its own column; rows must meet all of them, and both ends of a range belong to it."""
    assert kept(**arguments) == list(expected)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("step=3", [3]),
        ("step = 3", [3]),
        ("step!=3", [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ("loss<0.2", [0, 1]),
        ("loss<=0.2", [0, 1, 2]),
        ("loss>0.7", [8]),
        ("loss>=0.7", [7, 8]),
        ("loss=nan", [9]),
        (["step=1", "step=3"], [1, 3]),
        (["step>1", "step<4"], [2, 3]),
        (["step=1", "step=3", "loss<0.2"], [1]),
        ("loss_dice=", [0]),
        ("loss_dice!=", range(1, 10)),
        ("loss_dice!=3", [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ("split=", range(5, 10)),
        ("dataset=", range(3, 10)),
        ("sample_id=s4", [4]),
    ],
)
def test_conditions_choose_rows(where, expected):
    """By value, missing or not; NaN is neither above nor below; several = on one column are alternatives."""
    assert kept(where=where) == list(expected)


def test_own_columns_are_compared_in_their_types(tmp_path):
    """Text, whole numbers, numbers and truth. The view has `bucket` as own_bucket, as no column of lossreg begins."""
    import duckdb

    duckdb.sql(
        "COPY (SELECT CAST(range AS BIGINT) AS step, CAST(range AS DOUBLE) AS loss, range % 2 = 0 AS control,"
        " range / 10 AS condition, 'b' || range AS own_bucket FROM range(4)) "
        f"TO '{tmp_path}/own.parquet' (FORMAT parquet)"
    )
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TEMP VIEW records AS FROM '{tmp_path}/own.parquet'")
        for where, expected in {
            "control=true": [0, 2],
            "control=False": [1, 3],
            "condition<0.2": [0, 1],
            "bucket=b3": [3],
            "bucket!=b3": [0, 1, 2],
        }.items():
            with filtered(connection, Filters(where=where)):
                assert steps(connection) == expected, where
        with (
            pytest.raises(InputError, match=r"^where: control=1: expected true or false$"),
            filtered(connection, Filters(where="control=1")),
        ):
            pass


def test_values_are_never_sql():
    """A text with quotes is a value like others: it matches no row, and the message names similar ones."""
    for text in ("s1' OR 'a'='a", "'); DROP VIEW records; --", 's1" OR 1=1 --'):
        with pytest.raises(InputError, match="the filters leave no row"):
            kept(where=f"sample_id={text}")
        with pytest.raises(InputError, match=r"^runs: no row is of run "):
            kept(runs=text)
        with pytest.raises(InputError, match=r"^where: no column is called "):
            kept(where=f"{text.replace('=', '')}=1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": ["a", "c"]}, r"^runs: no row is of run 'c'; the runs are 'a', 'b'$"),
        ({"splits": "trian"}, r"^splits: no row is of split 'trian'; did you mean 'train'\?$"),
        ({"datasets": "dogs"}, r"^datasets: no row is of dataset 'dogs'; the datasets are '', 'cats'$"),
        ({"epochs": 9}, r"^the filters leave no row: none has epoch >= 9; it is from 0 to 4$"),
        ({"where": "sample_id=s"}, r"^the filters leave no row: none has sample_id=s; did you mean 's\d'\?$"),
        ({"where": "rank=0"}, r"^the filters leave no row: none has rank=0; it is missing in all of them$"),
        ({"runs": "a", "where": "step=1"}, r"^the filters leave no row: none has all of run 'a', step=1; leave one"),
        ({"where": "los>1"}, r"^where: no column is called 'los'; did you mean 'loss'\?$"),
        ({"where": "row_id=1"}, r"^where: no column is called 'row_id'; the columns are run, rank, step, .*loss_dice$"),
        ({"where": "run<b"}, r"^where: run<b: text has no order; compare it by = or !=$"),
        ({"where": "step<"}, r"^where: step<: a missing value has no order; compare it by = or !=$"),
        ({"where": "step=1.5"}, r"^where: step=1\.5: expected a whole number$"),
        ({"where": f"step={10**30}"}, r"^where: step=10+: expected a whole number$"),
        ({"where": "loss=much"}, r"^where: loss=much: expected a number$"),
        (
            {"where": "loss"},
            r"^where: 'loss' is no condition; write COLUMN=VALUE, or !=, <, <=, > or >= in place of =$",
        ),
        ({"where": "loss==1"}, r"^where: loss==1: expected a number$"),
        ({"where": 1}, r"^where must be text or a list of texts, got 1$"),
        ({"runs": [1]}, r"^runs must be text or a list of texts, got 1$"),
        ({"epochs": "3-1"}, r"^epochs: '3-1' is empty, as its end is below its beginning; write 1-3$"),
        ({"epochs": "-3"}, r"^epochs: '-3' is no range; write 5, 3-10, 3: or :10, where both ends are included$"),
        ({"steps": True}, r"^steps: True is no range; write 5"),
        ({"steps": ":"}, r"^steps: ':' is no range; write 5"),
        ({"steps": f":{10**30}"}, r"^steps: ':10+' is no range; write 5"),
    ],
)
def test_what_cannot_be_filtered_is_an_error(arguments, message):
    """It names the argument, the mistake, and the names or values that the records have."""
    with pytest.raises(InputError, match=message):
        kept(**arguments)


def test_filters_have_a_type():
    """Another object is an error that shows it."""
    with (
        connect(ROWS) as connection,
        pytest.raises(
            InputError, match=r"^filters must be Filters, such as Filters\(runs='night-7'\), got \{'runs': 'a'\}$"
        ),
        filtered(connection, {"runs": "a"}),
    ):
        pass


def test_half_characters_are_found_as_they_are_written():
    """A lone surrogate, as in file names that are no UTF-8, stands in the records as its escape."""
    rows = [{"run": "a\udc80", "loss": 1.0, "step": 0}, {"run": "a", "loss": 1.0, "step": 1}]
    for filters in (Filters(runs="a\udc80"), Filters(where="run=a\udc80")):
        with connect(rows) as connection, filtered(connection, filters):
            assert steps(connection) == [0]


def test_filters_end_with_their_block():
    """Also after an error; filters within filters leave what both allow."""
    with connect(ROWS) as connection:
        with filtered(connection, Filters(runs="a")):
            with filtered(connection, Filters(steps=":3")):
                assert steps(connection) == [0, 2]
            assert steps(connection) == [0, 2, 4, 6, 8]
            with pytest.raises(InputError, match="no row"), filtered(connection, Filters(where="step=1")):
                pass
            assert steps(connection) == [0, 2, 4, 6, 8]
        with filtered(connection, None):
            assert steps(connection) == list(range(10))
        assert steps(connection) == list(range(10))


def test_filters_are_values():
    """Equal whether given as text or as ranges; false where they leave out nothing."""
    assert Filters(runs="a", epochs="3:", steps="5") == Filters(runs=["a"], epochs=(3, None), steps=(5, 5))
    assert hash(Filters(runs="a")) == hash(Filters(runs=("a",)))
    assert not Filters()
    assert Filters(where="loss>1")
