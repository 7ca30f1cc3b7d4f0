"""Shards: Parquet files of records, each complete or absent."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from lossreg.errors import RecordsError
from lossreg.messages import printable
from lossreg.records.atomic_write import atomic_write
from lossreg.records.column_values import Chunk, is_own
from lossreg.records.database import identifier, literal, open_database, reason
from lossreg.records.record_schema import COLUMNS, OWN_KINDS, SUFFIX, VERSION, VERSION_KEY

NAME: Final = re.compile(r"(?P<run>.+)\.rank(?P<rank>\d+)\.(?P<session>[0-9a-f]+)\.\d+" + re.escape(SUFFIX))


def new_session(after: str = "") -> str:
    """Make the part of a file name that identifies one writer; a later session sorts later, on any clock.

    Args:
        after: an earlier session, which the new one follows.
    """
    return f"{max(time.time_ns(), int(after[:16] or '0', 16) + 1):016x}{secrets.token_hex(2)}"


def latest_session(directory: Path, run: str, rank: int) -> str:
    """Find the latest session of a rank of a run in a directory; empty for none."""
    start = f"{_slug(run)}.rank{rank:05d}."
    try:
        names = [name for name in os.listdir(directory) if name.startswith(start)]
    except OSError:  # to write there fails with the reason, or there is none
        return ""
    return max((found["session"] for name in names if (found := NAME.fullmatch(name))), default="")


def has_run(directory: Path, run: str) -> bool:
    """Return whether a directory has shards of a run."""
    return any(path.name.startswith(f"{_slug(run)}.rank") for path in directory.glob(f"[!.]*{SUFFIX}"))


def shard_name(run: str, rank: int, session: str, number: int) -> str:
    """Make the file name of a shard."""
    return f"{_slug(run)}.rank{rank:05d}.{session}.{number:06d}{SUFFIX}"


def _slug(run: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", run)[:80] or "-"


def write_shard(directory: str | Path, name: str, chunk: Chunk) -> Path:
    """Write rows as one Parquet file of all `COLUMNS`, the chunk's components, and the user's own columns.

    It is written to a temporary file, which is renamed once it is on the disk. A file of this name is replaced.

    Args:
        directory: an existing directory.
        name: the file name, ending in .parquet.
        chunk: from `row_validation.chunks`.
    Returns:
        the file.
    Raises:
        RecordsError: the disk is full, or the directory is missing or read-only. No file is left.
    """
    directory = Path(directory)
    path = directory / name
    try:
        # One thread: the others belong to training.
        with atomic_write(path) as temporary, open_database(threads=1) as connection:
            query = select(connection, chunk)
            version = f"KV_METADATA {{{VERSION_KEY}: '{VERSION}'}}"
            connection.execute(f"COPY ({query}) TO {literal(temporary)} (FORMAT parquet, COMPRESSION zstd, {version})")
    except (OSError, duckdb.Error) as error:
        why = reason(error) if directory.is_dir() else "the directory does not exist, or cannot be read"
        raise RecordsError(
            f"{printable(str(directory))}: records cannot be written: {why}", directory=directory
        ) from error
    return path


def select(connection: duckdb.DuckDBPyConnection, chunk: Chunk, name: str = "chunk") -> str:
    """Register a chunk, and write the query of its rows with the types of `COLUMNS`. NaN and NULL stay apart."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    parts = []
    for number, (column, values) in enumerate(chunk.items()):
        own = values is not None and is_own(column)
        kind = OWN_KINDS[values.dtype.kind] if own else COLUMNS.get(column, "DOUBLE")  # type: ignore[union-attr]
        if values is None:
            parts.append(f"CAST(NULL AS {kind}) AS {identifier(column)}")
            continue
        value = f"CAST(c{number} AS {kind})"
        if kind == "DOUBLE" and (nan := np.ma.filled(np.isnan(values), False)).any():  # DuckDB reads NaN as NULL
            arrays[f"nan{number}"] = nan
            values = np.ma.MaskedArray(np.where(nan, 0.0, np.ma.getdata(values)), mask=np.ma.getmaskarray(values))
            value = f"CASE WHEN nan{number} THEN CAST('nan' AS DOUBLE) ELSE {value} END"
        arrays[f"c{number}"] = values
        parts.append(f"{value} AS {identifier(column)}")
    connection.register(name, arrays)
    return f"SELECT {', '.join(parts)} FROM {name}"
