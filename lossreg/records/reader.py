"""Records in DuckDB: a directory of shards or rows in memory, as one view without duplicate rows."""

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
from lossreg.records.record_schema import COLUMNS, COMPONENT, OWN, SUFFIX

require("duckdb", "numpy", extra="records", use="records")

import duckdb  # noqa: E402

from lossreg.records.column_values import is_own  # noqa: E402
from lossreg.records.database import identifier, open_database, reason  # noqa: E402
from lossreg.records.deduplicate import find_duplicates  # noqa: E402
from lossreg.records.own_columns import HIDING  # noqa: E402
from lossreg.records.row_validation import check_names, chunks, columns  # noqa: E402
from lossreg.records.shards import write_shard  # noqa: E402

Rows = Iterable[Mapping[str, object]] | Mapping[str, object]
Records = str | PathLike[str] | Rows | duckdb.DuckDBPyConnection

_INTEGER_KINDS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_NUMBERS = (*_INTEGER_KINDS, "UBIGINT", "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE")
_WRITTEN_BY = "shards are written by lossreg.records.RecordWriter"
# Missing values are normalised: an empty id or path is NULL, a missing dataset is ''.
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
    """Open records for queries. Data beyond the limit of memory goes to a temporary folder, removed at the end.

    The view `records` has all `COLUMNS`, a column loss_<component> for each component that occurs, a column own_<name>
    for each further column of the shards (see `own_columns`), and `row_id`, the unique number of a row. A column that a
    shard does not have is NULL, so that shards of earlier and later versions are read together. A missing dataset is
    '', an empty sample_id or path is NULL, a missing weight is 1 and a missing loss NaN. Two kinds of duplicate rows
    are left out:

    - Padding by distributed samplers. If a run has several ranks: rows of a sample that a lower rank has in the same
      run, split, dataset and epoch (and step, if epoch is NULL). A missing rank is rank 0.
    - Steps repeated after a resume. If a rank has several sessions: rows of a sample that a later session has in the
      same split, dataset, epoch and step. Rows with neither epoch nor step stay.

    Args:
        records: a directory of shards; an iterable of mappings, such as a list of dicts or a generator; a mapping of
            columns; or a connection from `connect`, which is yielded unchanged.
        memory_limit: of DuckDB, such as "1GB".
        threads: the number of cores by default.
        temp_directory: the parent of the temporary folder; the system's by default.
    Raises:
        InputError: rows that cannot be records, or an invalid limit.
        RecordsError: a directory that is missing or has no shards, a file that cannot be read, too little space.
    """
    if isinstance(records, duckdb.DuckDBPyConnection):
        yield records
        return
    shards = _shards(Path(records)) if isinstance(records, str | PathLike) else None
    with _private_folder(temp_directory) as folder:
        shards = _write_temporary(records, folder) if shards is None else shards  # type: ignore[arg-type]
        with _opened(memory_limit, threads, folder) as connection, _plain_errors(shards[0].parent, memory_limit):
            _create_view(connection, shards)
            yield connection


def components(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """List the columns of components in the view, in the order of their names."""
    names = (row[0] for row in connection.execute("DESCRIBE records").fetchall())
    return sorted(name for name in names if name.startswith(COMPONENT))


def own_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """List the user's own columns, in the order of their names, each with its type in SQL.

    In the view `records` the column `name` is called `f"{OWN}{name}"`. A type is VARCHAR, BIGINT, DOUBLE or BOOLEAN.
    """
    found = {row[0]: row[1] for row in connection.execute("DESCRIBE records").fetchall()}
    return {name.removeprefix(OWN): found[name] for name in sorted(found) if name.startswith(OWN)}


def _shards(directory: Path) -> list[Path]:
    try:
        found = sorted(p for p in directory.iterdir() if p.name.endswith(SUFFIX) and not p.name.startswith("."))
    except (OSError, ValueError) as error:  # a null character in the path is a ValueError
        problems: dict[type[Exception], str] = {
            NotADirectoryError: "is a file; give its directory",
            FileNotFoundError: "does not exist; check the path",
        }
        problem = problems.get(type(error), f"cannot be read: {reason(error)}; check the path")
        raise RecordsError(f"{_shown(directory)}: the directory of records {problem}", directory=directory) from error
    if not found:
        raise RecordsError(f"{_shown(directory)}: contains no *{SUFFIX}; {_WRITTEN_BY}", directory=directory)
    return found


def _write_temporary(rows: Rows, folder: Path) -> list[Path]:
    """Write rows in memory as temporary shards, chunk by chunk."""
    found = [write_shard(folder, f"{number:09d}{SUFFIX}", chunk) for number, chunk in enumerate(chunks(rows))]
    return found or [write_shard(folder, f"none{SUFFIX}", columns({"loss": []}))]


@contextmanager
def _private_folder(within: str | PathLike[str] | None) -> Iterator[Path]:
    try:
        folder = TemporaryDirectory(prefix="lossreg-", dir=within)
    except OSError as error:
        raise RecordsError(
            f"no temporary folder can be created in {within}: {reason(error)}", directory=within
        ) from error
    with folder as name:
        yield Path(name)


@contextmanager
def _opened(memory_limit: str, threads: int | None, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads must be an integer >= 1, got {threads!r}")
    settings: dict[str, str | int] = {"memory_limit": memory_limit, "temp_directory": str(folder / "spilled")}
    try:
        connection = open_database(**settings | ({} if threads is None else {"threads": threads}))
    except duckdb.Error as error:
        raise InputError(f"memory_limit must be text such as '1GB', got {memory_limit!r}") from error
    with connection:
        connection.execute("SET enable_progress_bar = false")
        yield connection


@contextmanager
def _plain_errors(directory: Path, memory_limit: str) -> Iterator[None]:
    """Turn DuckDB's errors about data and space into errors with a remedy."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise RecordsError(
            f"{_shown(directory)}: reading needs more than memory_limit={memory_limit!r} and the space in its temporary"
            f" folder; raise memory_limit, or give a temp_directory with more space ({reason(error)})",
            directory=directory,
        ) from error
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):  # a wrong query
        raise
    except duckdb.Error as error:
        raise RecordsError(
            f"{_shown(directory)}: records cannot be read: {reason(error)}", directory=directory
        ) from error


def _create_view(connection: duckdb.DuckDBPyConnection, shards: Sequence[Path]) -> None:
    paths = [_without_pattern(path) for path in shards]
    connection.execute("SET VARIABLE files = ?", [paths])
    _check_shards(connection, shards)
    read = "read_parquet(getvariable('files'), union_by_name = true)"
    found = {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()}
    parts = []
    for name, kind in COLUMNS.items():
        value = f"CAST({identifier(name) if name in found else 'NULL'} AS {kind})"
        parts.append(_VALUES.get(name, "{0}").format(value) + f" AS {identifier(name)}")
    others = sorted(found.keys() - COLUMNS)
    parts += [f"CAST({identifier(name)} AS DOUBLE) AS {identifier(name)}" for name in others if not is_own(name)]
    own = [name for name in others if is_own(name)]
    parts += [f"CAST({identifier(name)} AS {_own_kind(found[name])}) AS {identifier(OWN + name)}" for name in own]
    # The index of the file and the index of the row in it, as the bits of one number.
    parts.append("(CAST(file_index AS BIGINT) << 40) | file_row_number AS row_id")
    connection.execute(f"CREATE TEMP VIEW stored AS SELECT {', '.join(parts)} FROM {read}")
    some = find_duplicates(connection, shards)
    connection.execute("CREATE TEMP VIEW records AS FROM stored" + " ANTI JOIN duplicates USING (row_id)" * some)


def _own_kind(found: str) -> str:
    """Choose the type of a user's column in the view. What is no number and no truth value is shown as text."""
    if found == "BOOLEAN" or found in _INTEGER_KINDS:
        return "BOOLEAN" if found == "BOOLEAN" else "BIGINT"
    return "DOUBLE" if _is_number(found) else "VARCHAR"


def _check_shards(connection: duckdb.DuckDBPyConnection, shards: Sequence[Path]) -> None:
    """Check the columns of every shard."""
    query = "SELECT name, duckdb_type FROM parquet_schema(?) WHERE duckdb_type IS NOT NULL"
    of_all = query.replace("SELECT", "SELECT DISTINCT file_name,")
    by_file: dict[str, dict[str, str]] = defaultdict(dict)
    try:
        for file, name, kind in connection.execute(of_all, [[_without_pattern(path) for path in shards]]).fetchall():
            by_file[file][name] = kind
    except duckdb.Error:
        for path in shards:  # find the broken one
            try:
                connection.execute(query, [[_without_pattern(path)]])
            except duckdb.Error as error:
                raise _no_shard(path, reason(error)) from error
        raise
    for path in shards:
        _check_columns(path, by_file[str(path)])
    names = {name for kinds in by_file.values() for name in kinds if name.startswith(COMPONENT)} - {COMPONENT}
    check_names(sorted(names), str(shards[0].parent))


def _check_columns(path: Path, kinds: Mapping[str, str]) -> None:
    if "loss" not in kinds:
        raise _no_shard(path, "it has no column 'loss'")
    for name, kind in kinds.items():
        if name.lower() in HIDING:
            raise _no_shard(path, f"its column {name!r} hides the number of a row in DuckDB; write it without, or")
        expected = COLUMNS.get(name, "DOUBLE" if name.startswith(COMPONENT) else "VARCHAR")
        if expected == "BOOLEAN" and kind != "BOOLEAN":
            raise _no_shard(path, f"its column {name!r} contains {kind}, expected truth values")
        if expected not in ("VARCHAR", "BOOLEAN") and not _is_number(kind):
            raise _no_shard(path, f"its column {name!r} contains {kind}, expected numbers")


def _is_number(kind: str) -> bool:
    return kind in _NUMBERS or kind.startswith("DECIMAL")


def _no_shard(path: Path, why: str) -> RecordsError:
    message = f"{_shown(path)}: not a shard of records: {printable(why)}; {_WRITTEN_BY}: move the file elsewhere"
    return RecordsError(message, directory=path.parent)


def _without_pattern(path: Path) -> str:
    """Escape the characters of a path that are a pattern to DuckDB."""
    return re.sub(r"[\[*?]", r"[\g<0>]", str(path))


def _shown(path: Path) -> str:
    return printable(str(path))
