"""Records in DuckDB: a directory of shards or rows in memory, as one view without duplicate rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from lossreg.errors import InputError, RecordsError
from lossreg.messages import printable, require
from lossreg.records.record_schema import COMPONENT, OWN, SUFFIX

require("duckdb", "numpy", extra="records", use="records")

import duckdb  # noqa: E402

from lossreg.records.database import open_database, reason  # noqa: E402
from lossreg.records.deduplicate import find_duplicates  # noqa: E402
from lossreg.records.find_shards import find_shards  # noqa: E402
from lossreg.records.row_validation import chunks, columns  # noqa: E402
from lossreg.records.shards import write_shard  # noqa: E402
from lossreg.records.stored import create_stored  # noqa: E402

Rows = Iterable[Mapping[str, object]] | Mapping[str, object]
Records = str | PathLike[str] | Rows | duckdb.DuckDBPyConnection


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
    shards = find_shards(Path(records)) if isinstance(records, str | PathLike) else None
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


def left_out(records: Records) -> dict[str, int]:
    """Count the rows of each run that are left out as repeated: a sampler's padding, and steps that were done again.

    ```python
    print(left_out("runs/records").get("night-7", 0))
    ```

    Args:
        records: as for `connect`. Filters do not matter here.
    Returns:
        the numbers by the names of runs, in their order; "" for rows without one. Runs without such rows are missing.
    Raises:
        InputError, RecordsError: as `connect`.
    """
    query = "SELECT coalesce(run, ''), count(*) FROM stored SEMI JOIN duplicates USING (row_id) GROUP BY 1 ORDER BY 1"
    with connect(records) as connection:
        some = connection.execute("SELECT 1 FROM duplicates LIMIT 1").fetchall()
        return dict(connection.execute(query).fetchall()) if some else {}


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
    create_stored(connection, shards)
    some = find_duplicates(connection, shards)
    connection.execute("CREATE TEMP VIEW records AS FROM stored" + " ANTI JOIN duplicates USING (row_id)" * some)


def _shown(path: Path) -> str:
    return printable(str(path))
