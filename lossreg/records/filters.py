"""Filters: which rows of the records enter statistics, rankings, captions, exports and reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from lossreg.errors import InputError
from lossreg.messages import did_you_mean, printable
from lossreg.records.conditions import Column, Condition, Range, Value, range_of, sql
from lossreg.records.database import identifier
from lossreg.records.record_schema import OWN

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NAMES = {"runs": "run", "splits": "split", "datasets": "dataset"}
_RANGES = {"epochs": "epoch", "steps": "step"}
_SHOWN = 8  # names in a message
_COMPARED = 10_000  # values among which a similar one is looked for
_number = count()  # of a filter in this process: each has variables and a view of its own


@dataclass(frozen=True)
class Filters:
    """Rows of the records: those that every argument allows. Without arguments, all of them.

    ```python
    Filters(runs="night-7", splits="val", epochs="3-10", where=["bucket=wide", "condition<0.5"])
    ```

    Args:
        runs: names of runs; "" stands for rows without one. One text is one name.
        splits: names of splits, likewise.
        datasets: names of data sets, likewise.
        epochs: a range with both ends: 5, "3-10", "3:", ":10" or (3, None).
        steps: a range of steps, likewise.
        where: conditions on any column, your own included: COLUMN=VALUE, or !=, <, <=, > or >= in place of =. All must
            hold; of several = on one column, one must. An empty VALUE stands for a missing one, which != includes.
    Raises:
        InputError: a name that is no text, or a range or a condition that cannot be read.
    """

    runs: str | Iterable[str] = ()
    splits: str | Iterable[str] = ()
    datasets: str | Iterable[str] = ()
    epochs: str | int | Range | None = None
    steps: str | int | Range | None = None
    where: str | Iterable[str] = ()

    def __post_init__(self) -> None:
        for name in (*_NAMES, "where"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        for name in _RANGES:
            object.__setattr__(self, name, range_of(name, getattr(self, name)))
        for text in self.where:
            Condition.of(text)

    def __bool__(self) -> bool:
        """Return whether any row may be left out."""
        return self != Filters()


class _Test(NamedTuple):
    """A condition as SQL, with the values of its variables, and the words for it in messages."""

    text: str
    values: dict[str, Value | list[str]]
    words: str
    column: str


@contextmanager
def filtered(connection: DuckDBPyConnection, filters: Filters | None) -> Iterator[DuckDBPyConnection]:
    """Let the view `records` have the filtered rows alone, until the end of the block.

    Args:
        connection: from `reader.connect`.
        filters: which rows; None for all.
    Raises:
        InputError: a name or a column that does not occur, a value of another type, or no row is left.
    """
    if filters is not None and not isinstance(filters, Filters):
        raise InputError(
            f"filters must be Filters, such as Filters(runs='night-7'), got {printable(repr(filters)):.80}"
        )
    if not filters:
        yield connection
        return
    number = next(_number)
    _check_names(connection, filters)
    tests = list(_tests(connection, filters, f"filter_{number}"))
    for test in tests:
        for name, value in test.values.items():
            connection.execute(f"SET VARIABLE {name} = ?", [value])
    every = f"records_{number}"
    connection.execute(f"ALTER VIEW records RENAME TO {every}")
    try:
        connection.execute(f"CREATE TEMP VIEW records AS FROM {every} WHERE {' AND '.join(t.text for t in tests)}")
        _check_rows(connection, every, tests)
        yield connection
    finally:
        connection.execute("DROP VIEW IF EXISTS records")
        connection.execute(f"ALTER VIEW {every} RENAME TO records")


def _tests(connection: DuckDBPyConnection, filters: Filters, prefix: str) -> Iterator[_Test]:
    for argument, column in _NAMES.items():
        if names := getattr(filters, argument):
            name = f"{prefix}_{argument}"
            text = f"list_contains(getvariable('{name}'), coalesce({column}, ''))"
            yield _Test(text, {name: list(names)}, f"{column} {_listed(names)}", column)
    for argument, column in _RANGES.items():
        for sign, end in zip((">=", "<="), getattr(filters, argument) or (), strict=False):
            if end is not None:
                name = f"{prefix}_{argument}_{'low' if sign == '>=' else 'high'}"
                yield _Test(f"{column} {sign} getvariable('{name}')", {name: end}, f"{column} {sign} {end}", column)
    columns = _columns(connection)
    alternatives: dict[tuple[str, int], list[_Test]] = {}
    for place, condition in enumerate(map(Condition.of, filters.where)):
        name, value = f"{prefix}_where_{place}", condition.value(columns)
        compared = columns[condition.column]
        text = sql(compared, condition.sign, name, value is None)
        found = _Test(text, {} if value is None else {name: value}, str(condition), compared.sql)
        alternatives.setdefault((condition.column, 0 if condition.sign == "=" else place + 1), []).append(found)
    for several in alternatives.values():
        values = {name: value for each in several for name, value in each.values.items()}
        yield _Test(
            f"({' OR '.join(t.text for t in several)})",
            values,
            " or ".join(t.words for t in several),
            several[0].column,
        )


def _columns(connection: DuckDBPyConnection) -> dict[str, Column]:
    """Map the names of columns, without the prefix of the user's own, to the columns of the view."""
    found = connection.execute("DESCRIBE records").fetchall()
    return {row[0].removeprefix(OWN): Column(identifier(row[0]), row[1]) for row in found if row[0] != "row_id"}


def _check_names(connection: DuckDBPyConnection, filters: Filters) -> None:
    for argument, column in _NAMES.items():
        if not (wanted := getattr(filters, argument)):
            continue
        query = f"SELECT DISTINCT coalesce({column}, '') FROM records ORDER BY 1"
        known = [name for (name,) in connection.execute(query).fetchall()]
        for name in wanted:
            if name not in known:
                hint = did_you_mean(name, known, otherwise=f"the {argument} are {_listed(known)}")
                raise InputError(f"{argument}: no row is of {column} {printable(repr(name)):.100}; {printable(hint)}")


def _check_rows(connection: DuckDBPyConnection, every: str, tests: list[_Test]) -> None:
    """Check that rows are left, and name the first condition that leaves none by itself."""
    if connection.execute("SELECT 1 FROM records LIMIT 1").fetchall():
        return
    for test in tests:
        if not connection.execute(f"SELECT 1 FROM {every} WHERE {test.text} LIMIT 1").fetchall():
            raise InputError(f"the filters leave no row: none has {test.words}; {_known(connection, every, test)}")
    words = ", ".join(test.words for test in tests)
    raise InputError(f"the filters leave no row: none has all of {words}; leave one of these out")


def _known(connection: DuckDBPyConnection, every: str, test: _Test) -> str:
    """Say what the column of a condition holds: its range or, of text, a similar value."""
    column, (value, *_) = test.column, (*test.values.values(), None)
    if not isinstance(value, str):
        ((low, high),) = connection.execute(f"SELECT min({column}), max({column}) FROM {every}").fetchall()
        return "it is missing in all of them" if low is None else f"it is from {low} to {high}"
    query = f"SELECT DISTINCT {column} FROM {every} WHERE {column} <> '' ORDER BY 1 LIMIT {_COMPARED}"
    known = [name for (name,) in connection.execute(query).fetchall()]
    return printable(did_you_mean(value, known, otherwise=f"it is one of {_listed(known)}"))


def _listed(names: Iterable[str]) -> str:
    shown = [printable(repr(name))[:80] for name in names]
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")


def _texts(name: str, given: object) -> tuple[str, ...]:
    texts = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{name} must be text or a list of texts, got {printable(repr(text)):.80}")
    return tuple(text.encode(errors="backslashreplace").decode() for text in texts)  # as rows are written
