"""DuckDB connections, quoting of SQL, and the reasons of its errors."""

from __future__ import annotations

import os
import re

import duckdb

from lossreg.messages import printable

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,  # no extension is fetched from a network
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # the name of a table never means a variable of the caller
}


def open_database(**settings: str | int) -> duckdb.DuckDBPyConnection:
    """Open an empty database in memory, with further settings of DuckDB."""
    return duckdb.connect(config=_SETTINGS | settings)


def identifier(name: str) -> str:
    """Quote the name of a column for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """Quote a text or a path for SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def reason(error: Exception) -> str:
    """Show why the system or DuckDB failed: the system's own words if there are any, else the first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    number = re.search(r'"errno":"(\d+)"', str(error))  # DuckDB reports an error of the system in JSON
    if number:
        return os.strerror(int(number[1]))
    lines = str(error).removeprefix("IO Error: ").splitlines() or [type(error).__name__]
    return printable(f"{lines[0]:.500}")
