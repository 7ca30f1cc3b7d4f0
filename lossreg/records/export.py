"""Records as CSV, and aggregates with every example as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import duckdb

from lossreg.errors import LossregError
from lossreg.messages import printable
from lossreg.records.aggregate import aggregate_by_dataset
from lossreg.records.atomic_write import atomic_write
from lossreg.records.examples import details, example_rows
from lossreg.records.reader import Records, connect


def export_csv(records: Records, path: str | PathLike[str]) -> None:
    """Write every row as `path,dataset,caption,loss`, with a header, in UTF-8.

    Fields with commas, quotes or line breaks are quoted. What was not said is empty; losses that are not finite are
    nan, inf and -inf. Text is written as it is: before a file of captions from others is opened in a spreadsheet,
    remember that those beginning with =, +, - or @ are read as formulas there.

    Args:
        records: as for `aggregate_by_dataset`.
        path: the file. One that is there is replaced once the new one is whole.
    Raises:
        InputError: rows that cannot be records.
        RecordsError: a directory that cannot be read.
        LossregError: the file cannot be written.
    """
    with connect(records) as connection, _written(Path(path)) as hidden:
        target = str(hidden).replace("'", "''")
        connection.execute(
            "COPY (SELECT path, nullif(dataset, '') AS dataset, caption, loss FROM records)"
            f" TO '{target}' (FORMAT csv, HEADER, DELIMITER ',', QUOTE '\"', ESCAPE '\"')"
        )


def export_json(records: Records, path: str | PathLike[str], top_k: int = 10) -> None:
    """Write the aggregates and, under "items", every example, as JSON that has neither NaN nor infinities.

    Examples are written one per line, by dataset and name, as `aggregate_by_dataset` describes them: dataset,
    sample_id, path, caption, count, mean, minimum, maximum, variance. They are never all in memory.

    Args:
        records: as for `aggregate_by_dataset`.
        path: the file. One that is there is replaced once the new one is whole.
        top_k: examples at either end, in the aggregates.
    Raises:
        InputError: rows that cannot be records, or a top_k that cannot be.
        RecordsError: a directory that cannot be read.
        LossregError: the file cannot be written.
    """
    with connect(records) as connection:
        head = json.dumps(aggregate_by_dataset(connection, top_k), allow_nan=False)
        with _written(Path(path)) as hidden, hidden.open("w", encoding="utf-8") as file:
            file.write(head.removesuffix("}") + ', "items": [')
            encode, separator = json.JSONEncoder(allow_nan=False).encode, "\n"
            for _, item in details(connection, example_rows(connection)):
                file.write(separator + encode(item))
                separator = ",\n"
            file.write("\n]}\n")


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """The file to write to instead, and errors that name the one that is meant."""
    try:
        with atomic_write(path) as hidden:
            yield hidden
    except (OSError, duckdb.IOException) as error:
        if isinstance(error, LossregError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise LossregError(f"{printable(str(path))}: cannot be written: {printable(str(reason))}") from error
