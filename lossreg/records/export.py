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
from lossreg.records.database import literal, reason
from lossreg.records.examples import details, example_rows
from lossreg.records.reader import Records, connect


def export_csv(records: Records, path: str | PathLike[str]) -> None:
    """Write every row as `path,dataset,caption,loss`, with a header, in UTF-8.

    Fields with commas, quotes or line breaks are quoted. Missing values are empty; losses that are not finite are nan,
    inf and -inf. Text is written unchanged: a spreadsheet reads text that begins with =, +, - or @ as a formula, so
    take care with captions from others.

    Args:
        records: as for `aggregate_by_dataset`.
        path: the file. An existing file is replaced once the new one is complete.
    Raises:
        InputError: rows that cannot be records.
        RecordsError: a directory that cannot be read.
        LossregError: the file cannot be written.
    """
    with connect(records) as connection, _temporary(Path(path)) as temporary:
        connection.execute(
            "COPY (SELECT path, nullif(dataset, '') AS dataset, caption, loss FROM records)"
            f" TO {literal(temporary)} (FORMAT csv, HEADER, DELIMITER ',', QUOTE '\"', ESCAPE '\"')"
        )


def export_json(records: Records, path: str | PathLike[str], top_k: int = 10) -> None:
    """Write the aggregates and, under "items", every example, as JSON that has neither NaN nor infinities.

    Examples are written one per line, by dataset and name, as `aggregate_by_dataset` describes them: dataset,
    sample_id, path, caption, count, mean, minimum, maximum, variance. They are never all in memory.

    Args:
        records: as for `aggregate_by_dataset`.
        path: the file. An existing file is replaced once the new one is complete.
        top_k: number of examples at either end, in the aggregates.
    Raises:
        InputError: rows that cannot be records, or a top_k out of range.
        RecordsError: a directory that cannot be read.
        LossregError: the file cannot be written.
    """
    with connect(records) as connection:
        head = json.dumps(aggregate_by_dataset(connection, top_k), allow_nan=False)
        with _temporary(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(head.removesuffix("}") + ', "items": [')
            encode, separator = json.JSONEncoder(allow_nan=False).encode, "\n"
            for _, example in details(connection, example_rows(connection)):
                file.write(separator + encode(example))
                separator = ",\n"
            file.write("\n]}\n")


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a temporary file for `path`; errors name `path`."""
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except (OSError, duckdb.IOException) as error:
        if isinstance(error, LossregError):
            raise
        raise LossregError(f"{printable(str(path))}: cannot be written: {printable(reason(error))}") from error
