"""Records as DuckDB reads them: a directory of shards or rows in memory, as one view without rows that stand twice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from lossreg.errors import InputError, RecordsError
from lossreg.messages import printable, require
from lossreg.records.record_schema import COLUMNS, COMPONENT, SUFFIX

require("duckdb", "numpy", extra="records", use="records")

import duckdb  # noqa: E402

from lossreg.records.deduplicate import find_repeated  # noqa: E402
from lossreg.records.row_validation import check_names, chunks, columns  # noqa: E402
from lossreg.records.shards import write_shard  # noqa: E402

Rows = Iterable[Mapping[str, object]] | Mapping[str, object]
Records = str | PathLike[str] | Rows | duckdb.DuckDBPyConnection

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,  # nothing is fetched from a network
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # a table is never a variable of the caller
}
_WRITTEN_BY = "shards are written by lossreg.records.RecordWriter"
# What is not said is one value: an id or a path that is empty says nothing.
_VALUES = {
    "dataset": "coalesce({0}, '')",
    "sample_id": "nullif({0}, '')",
    "path": "nullif({0}, '')",
    "weight": "coalesce({0}, 1)",
    "loss": "coalesce({0}, 'nan')",
}


@contextmanager
def connect(
    records: Records,
    *,
    memory_limit: str = "1GB",
    threads: int | None = None,
    temp_directory: str | PathLike[str] | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open records for queries. What does not fit into memory goes to a temporary folder, which is removed at the end.

    The view `records` has all `COLUMNS`, a column loss_<component> for each component that occurs, and `row_id`, a
    number that no other row has. Dataset is '' where none was said, sample_id and path are NULL where they are empty,
    weight is 1 and loss NaN where they are NULL. Two kinds of rows are left out:

    - Where a run has several ranks: rows of a sample that a lower rank has in the same run, split, dataset and epoch
      (and step, if epoch is NULL). Samplers pad the last batches with them. No rank is rank 0.
    - Where a rank has several sessions, because its run was resumed: rows of a sample that a later session has in the
      same split, dataset, epoch and step, too. Rows with neither epoch nor step stay.

    Args:
        records: a directory of shards; an iterable of mappings, such as a list of dicts or a generator; a mapping of
            columns; or what `connect` gave, which is then given again.
        memory_limit: of DuckDB, such as "1GB".
        threads: as many as there are cores by default.
        temp_directory: where the temporary folder is made; the system's by default.
    Raises:
        InputError: rows that cannot be records, or a limit that is none.
        RecordsError: a directory that is not there or has no shards, a file that cannot be read, too little space.
    """
    if isinstance(records, duckdb.DuckDBPyConnection):
        yield records
        return
    shards = _shards(Path(records)) if isinstance(records, str | PathLike) else None
    with _private_folder(temp_directory) as folder:
        shards = _written(records, folder) if shards is None else shards  # type: ignore[arg-type]
        with _opened(memory_limit, threads, folder) as connection, _plain_errors(shards[0].parent, memory_limit):
            _create_view(connection, shards)
            yield connection


def components(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns of components in the view, in the order of their names."""
    names = (row[0] for row in connection.execute("DESCRIBE records").fetchall())
    return sorted(name for name in names if name.startswith(COMPONENT))


def identifier(name: str) -> str:
    """A column's name as SQL has it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _shards(directory: Path) -> list[Path]:
    if not directory.is_dir():
        what = "is a file; give the directory it lies in" if directory.exists() else "is not there; check the path"
        raise RecordsError(f"{_shown(directory)}: a directory of records {what}", directory=directory)
    found = sorted(p for p in directory.iterdir() if p.name.endswith(SUFFIX) and not p.name.startswith("."))
    if not found:
        raise RecordsError(f"{_shown(directory)}: holds no *{SUFFIX}; {_WRITTEN_BY}", directory=directory)
    return found


def _written(rows: Rows, folder: Path) -> list[Path]:
    """Rows in memory as temporary shards, chunk by chunk."""
    found = [write_shard(folder, f"{number:09d}{SUFFIX}", chunk) for number, chunk in enumerate(chunks(rows))]
    return found or [write_shard(folder, f"none{SUFFIX}", columns({"loss": []}))]


@contextmanager
def _private_folder(within: str | PathLike[str] | None) -> Iterator[Path]:
    try:
        folder = TemporaryDirectory(prefix="lossreg-", dir=within)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RecordsError(f"no temporary folder can be made in {within}: {reason}", directory=within) from error
    with folder as name:
        yield Path(name)


@contextmanager
def _opened(memory_limit: str, threads: int | None, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads is an integer >= 1, got {threads!r}")
    settings = _SETTINGS | {"memory_limit": memory_limit, "temp_directory": str(folder / "spilled")}
    try:
        connection = duckdb.connect(config=settings | ({} if threads is None else {"threads": threads}))
    except duckdb.Error as error:
        raise InputError(f"memory_limit is text such as '1GB', got {memory_limit!r}") from error
    with connection:
        connection.execute("SET enable_progress_bar = false")
        yield connection


@contextmanager
def _plain_errors(directory: Path, memory_limit: str) -> Iterator[None]:
    """DuckDB's errors about data and space as errors that say what to do."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise RecordsError(
            f"{_shown(directory)}: reading needs more than memory_limit={memory_limit!r} and the space in its temporary"
            f" folder; raise memory_limit, or give a temp_directory with more space ({_first_line(error)})",
            directory=directory,
        ) from error
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):  # a wrong query
        raise
    except duckdb.Error as error:
        raise RecordsError(
            f"{_shown(directory)}: records cannot be read: {_first_line(error)}", directory=directory
        ) from error


def _create_view(connection: duckdb.DuckDBPyConnection, shards: Sequence[Path]) -> None:
    paths = [_literal(path) for path in shards]
    connection.execute("SET VARIABLE files = ?", [paths])
    found = _checked_columns(connection, shards)
    parts = []
    for name in [*COLUMNS, *found]:
        value = f"CAST({identifier(name)} AS {COLUMNS.get(name, 'DOUBLE')})"
        parts.append(_VALUES.get(name, "{0}").format(value) + f" AS {identifier(name)}")
    # The file's place in the list and the row's place in the file: bits of one number.
    parts.append("(CAST(file_index AS BIGINT) << 40) | file_row_number AS row_id")
    read = f"SELECT {', '.join(parts)} FROM read_parquet(getvariable('files'), union_by_name = true)"
    connection.execute(f"CREATE TEMP VIEW stored AS {read}")
    some = find_repeated(connection, shards)
    connection.execute("CREATE TEMP VIEW records AS FROM stored" + " ANTI JOIN repeated USING (row_id)" * some)


def _checked_columns(connection: duckdb.DuckDBPyConnection, shards: Sequence[Path]) -> list[str]:
    """The columns of components, after a look at the columns of every shard."""
    query = "SELECT name, duckdb_type FROM parquet_schema(?) WHERE duckdb_type IS NOT NULL"
    whole = query.replace("SELECT", "SELECT DISTINCT file_name,")
    by_file: dict[str, dict[str, str]] = defaultdict(dict)
    try:
        for file, name, kind in connection.execute(whole, [[_literal(path) for path in shards]]).fetchall():
            by_file[file][name] = kind
    except duckdb.Error:
        for path in shards:  # which of them it is
            try:
                connection.execute(query, [[_literal(path)]])
            except duckdb.Error as error:
                raise _no_shard(path, _first_line(error)) from error
        raise
    for path in shards:
        _check_columns(path, by_file[str(path)])
    found = sorted({name for kinds in by_file.values() for name in kinds if name.startswith(COMPONENT)} - {COMPONENT})
    check_names(found, str(shards[0].parent))
    return found


def _check_columns(path: Path, kinds: Mapping[str, str]) -> None:
    if missing := [name for name in COLUMNS if name not in kinds]:
        raise _no_shard(path, f"it has no column {', '.join(map(repr, missing))}")
    for name, kind in kinds.items():
        number = COLUMNS.get(name, "DOUBLE" if name.startswith(COMPONENT) else "VARCHAR") != "VARCHAR"
        if number and kind in ("VARCHAR", "BLOB", "BOOLEAN"):
            raise _no_shard(path, f"its column {name!r} holds {kind}, expected numbers")


def _no_shard(path: Path, reason: str) -> RecordsError:
    message = f"{_shown(path)}: is no shard of records: {printable(reason)}; {_WRITTEN_BY}: move the file elsewhere"
    return RecordsError(message, directory=path.parent)


def _literal(path: Path) -> str:
    """A path in which DuckDB sees no pattern."""
    return re.sub(r"[\[*?]", r"[\g<0>]", str(path))


def _shown(path: Path) -> str:
    return printable(str(path))


def _first_line(error: Exception) -> str:
    return printable(str(error).splitlines()[0]) if str(error) else type(error).__name__
