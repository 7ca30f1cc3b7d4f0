"""Shards: Parquet files of records, which are there whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from lossreg.errors import RecordsError
from lossreg.messages import printable
from lossreg.records.atomic_write import atomic_write
from lossreg.records.record_schema import COLUMNS, SUFFIX
from lossreg.records.row_validation import Chunk

# Nothing is looked for on the network. One thread: what trains needs the others.
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def new_session() -> str:
    """What tells the shards of one writer from those of others; a later session sorts later."""
    return f"{time.time_ns():016x}{secrets.token_hex(2)}"


def shard_name(run: str, rank: int, session: str, number: int) -> str:
    """The file name of a shard."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", run)[:80] or "-"
    return f"{slug}.rank{rank:05d}.{session}.{number:06d}{SUFFIX}"


def write_shard(directory: str | Path, name: str, chunk: Chunk) -> Path:
    """Write rows as one Parquet file of all `COLUMNS`, and those of components that the chunk has.

    It is written aside, under a hidden name, and renamed once it is on the disk: whatever stops the process, a shard
    reads. A file of that name is replaced.

    Args:
        directory: where to; it must be there.
        name: of the file, ending in .parquet.
        chunk: as `rows.chunks` gives it.
    Returns:
        the file.
    Raises:
        RecordsError: the disk is full, or the directory lost or read-only. Nothing is left behind.
    """
    directory = Path(directory)
    path = directory / name
    try:
        with atomic_write(path) as hidden, duckdb.connect(config=_SETTINGS) as connection:
            query = select(connection, chunk)
            target = str(hidden).replace("'", "''")
            connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    except (OSError, duckdb.Error) as error:
        raise RecordsError(
            f"{printable(str(directory))}: records cannot be written: {_reason(directory, error)}", directory=directory
        ) from error
    return path


def select(connection: duckdb.DuckDBPyConnection, chunk: Chunk, name: str = "chunk") -> str:
    """Register a chunk with a connection; the query that gives it with the types of `COLUMNS`, NaN and NULL apart."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    parts = []
    for number, (column, values) in enumerate(chunk.items()):
        kind, quoted = COLUMNS.get(column, "DOUBLE"), '"' + column.replace('"', '""') + '"'
        if values is None:
            parts.append(f"CAST(NULL AS {kind}) AS {quoted}")
            continue
        value = f"CAST(c{number} AS {kind})"
        if kind == "DOUBLE" and (nan := np.ma.filled(np.isnan(values), False)).any():  # DuckDB reads NaN as NULL
            arrays[f"nan{number}"] = nan
            values = np.ma.MaskedArray(np.where(nan, 0.0, np.ma.getdata(values)), mask=np.ma.getmaskarray(values))
            value = f"CASE WHEN nan{number} THEN CAST('nan' AS DOUBLE) ELSE {value} END"
        arrays[f"c{number}"] = values
        parts.append(f"{value} AS {quoted}")
    connection.register(name, arrays)
    return f"SELECT {', '.join(parts)} FROM {name}"


def _reason(directory: Path, error: Exception) -> str:
    """Why writing failed, as a person says it."""
    if not os.path.isdir(directory):
        return "the directory is not there, or cannot be looked into"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = printable(str(error).removeprefix("IO Error: "))
    number = re.search(r'"errno":"(\d+)"', text)  # which DuckDB mentions amid much else
    return os.strerror(int(number[1])) if number else f"{text:.500}"
