"""Targets in a column of Parquet files: masks, runs, paths of masks, or flags for the presence of a mask."""

from __future__ import annotations

import glob
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from lossreg.errors import LossregError, ShapeError
from lossreg.health.targets.arrays import as_array
from lossreg.health.targets.files import read_file
from lossreg.health.targets.images import read_image
from lossreg.health.targets.report import Flag, Mask, Target, Unreadable
from lossreg.health.targets.rle import decode
from lossreg.messages import did_you_mean, require

_NUMBER = re.compile(r"BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)")
_DECIMAL = re.compile(r"DECIMAL\(\d+,\d+\)")
_IMAGE: Final = ("bytes", "path")  # fields of an image in a data set of Hugging Face
_RUNS: Final = ("size", "counts")  # fields of a mask as lengths of runs


def read_column(path: Path, column: str | None) -> Iterator[Target]:
    """Return the targets of one column, read row by row.

    Args:
        path: a Parquet file, or a folder of them at any depth.
        column: encoded images, or a record of `bytes` and `path`; paths of files that hold masks, from the folder
            of the Parquet file; nested lists of numbers; runs as COCO has them, a record of `size` and `counts` or the
            same as JSON, or a list of such records; booleans or numbers that are true if there is a mask.
    Raises:
        LossregError: the files cannot be read, there is no such column, or its type cannot hold masks.
    """
    require("duckdb", extra="records", use="check-targets of Parquet")
    require("numpy", "PIL", extra="targets", use="check-targets")
    import duckdb

    from lossreg.records.database import identifier, open_database, reason

    files = glob.escape(str(path)) + ("/**/*.parquet" if path.is_dir() else "")
    folder = path if path.is_dir() else path.parent
    connection = open_database(threads=1)  # rows come in order, and few of them are in memory
    try:
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [files]).fetchall()
    except duckdb.Error as error:
        raise LossregError(f"{path}: cannot be read as Parquet: {reason(error)}") from error
    types = {name: kind for name, kind, *_ in described}
    if column is None:
        raise LossregError(f"{path}: name the column of the targets with --column, one of {', '.join(types)}")
    if column not in types:
        hint = did_you_mean(column, types, otherwise=f"the columns are {', '.join(types)}")
        raise LossregError(f"{path}: unknown column {column!r}; {hint}")
    reader = _reader(types[column], folder)
    if reader is None:
        raise LossregError(
            f"{path}: column {column!r} has type {types[column]}, which cannot hold masks; expected encoded images,"
            " paths, nested lists of numbers, records of size and counts, or booleans or numbers that are true if there"
            " is a mask"
        )
    kind = _DECIMAL.sub("DOUBLE", types[column])  # NumPy has no decimals
    return _rows(connection, files, f"CAST({identifier(column)} AS {kind})", reader)


def _reader(kind: str, folder: Path) -> Callable[[Any, str], Iterator[Target]] | None:
    """Return a function from a value and the name of its row to targets; None if the type cannot hold masks."""
    if _NUMBER.fullmatch(kind):
        return lambda value, name: iter([Flag(name, value is not None and value == value and bool(value))])
    fields = set(re.findall(r'[(\s]"?(\w+)"? ', kind)) if kind.startswith("STRUCT(") else set()
    if fields.issuperset(_RUNS):
        return _objects if kind.endswith(")[]") else _runs
    if kind.endswith("]"):
        return _numbers
    if kind in ("BLOB", "VARCHAR") or fields.intersection(_IMAGE):
        return lambda value, name: _image(value, name, folder)
    return None


def _objects(value: Any, name: str) -> Iterator[Target]:
    """Yield the masks of a list of runs, one for each object."""
    for number, one in enumerate(value or [None]):
        yield from _runs(one, f"{name}, object {number}" if value else name)


def _runs(value: Any, name: str) -> Iterator[Target]:
    try:
        yield Mask(name, None if value is None else decode(value))
    except ShapeError as error:
        yield Unreadable(name, str(error))


def _numbers(value: Any, name: str) -> Iterator[Target]:
    try:
        yield Mask(name, None if value is None else as_array(value))
    except ShapeError as error:
        yield Unreadable(name, str(error))


def _image(value: Any, name: str, folder: Path) -> Iterator[Target]:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if not value:
        yield Mask(name, None)
    elif isinstance(value, str) and value.lstrip().startswith("{"):
        yield from _runs(_parsed(value), name)
    elif isinstance(value, str):
        yield from read_file(folder / value, f"{name}, {value}", None)
    else:
        yield from read_image(io.BytesIO(value), name)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {}  # `decode` then refuses it with the reason


def _rows(connection: Any, files: str, column: str, reader: Callable[[Any, str], Iterator[Target]]) -> Iterator[Target]:
    with connection:
        rows = connection.execute(f"SELECT {column} FROM read_parquet(?)", [files])
        number = 0
        while (row := rows.fetchone()) is not None:
            yield from reader(row[0], f"row {number}")
            number += 1
