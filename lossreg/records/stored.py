"""The shards of a directory as one view, `stored`: their columns are checked, and have one type in all."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from lossreg.errors import RecordsError
from lossreg.messages import printable
from lossreg.records.column_values import is_own
from lossreg.records.database import identifier, reason
from lossreg.records.find_shards import WRITTEN_BY
from lossreg.records.own_columns import HIDING
from lossreg.records.record_schema import COLUMNS, COMPONENT, OWN
from lossreg.records.row_validation import check_names

_INTEGER_KINDS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_NUMBERS = (*_INTEGER_KINDS, "UBIGINT", "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE")
_HIDES = "hides the number of a row in DuckDB; write it without, as by SELECT * EXCLUDE ({})"
# Missing values are normalised: an empty id or path is NULL, a missing dataset is ''.
_VALUES = {
    "dataset": "coalesce({0}, '')",
    "sample_id": "nullif({0}, '')",
    "path": "nullif({0}, '')",
    "weight": "coalesce({0}, 1)",
    "loss": "coalesce({0}, 'nan')",
}


def create_stored(connection: duckdb.DuckDBPyConnection, shards: Sequence[Path]) -> None:
    """Create the view `stored` of all rows, with the columns that `reader.connect` describes.

    Raises:
        RecordsError: a file that is no shard; names it.
    """
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


def _own_kind(found: str) -> str:
    """Choose the type of a user's column in the view. Everything but numbers and truth values becomes text."""
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
            raise _no_shard(path, f"its column {name!r} {_HIDES.format(name)}")
        expected = COLUMNS.get(name, "DOUBLE" if name.startswith(COMPONENT) else "VARCHAR")
        if expected == "BOOLEAN" and kind != "BOOLEAN":
            raise _no_shard(path, f"its column {name!r} contains {kind}, expected truth values")
        if expected not in ("VARCHAR", "BOOLEAN") and not _is_number(kind):
            raise _no_shard(path, f"its column {name!r} contains {kind}, expected numbers")


def _is_number(kind: str) -> bool:
    return kind in _NUMBERS or kind.startswith("DECIMAL")


def _no_shard(path: Path, why: str) -> RecordsError:
    message = f"{printable(str(path))}: not a shard of records: {printable(why)}; {WRITTEN_BY}: move the file elsewhere"
    return RecordsError(message, directory=path.parent)


def _without_pattern(path: Path) -> str:
    """Escape the characters of a path that are a pattern to DuckDB."""
    return re.sub(r"[\[*?]", r"[\g<0>]", str(path))
