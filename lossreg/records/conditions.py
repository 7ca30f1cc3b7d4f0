"""Conditions and ranges of filters: their texts, read and turned into SQL. Values are variables, never SQL text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from lossreg.errors import InputError
from lossreg.messages import did_you_mean, printable

Value = str | int | float | bool | None
Range = tuple[int | None, int | None]  # both ends belong to it

_CONDITION = re.compile(r"\s*([^=<>!]*[^=<>!\s])\s*(<=|>=|!=|=|<|>)(.*)", re.DOTALL)
_RANGE = re.compile(r"(?P<only>\d+)|(?P<low>\d+)\s*[-:]\s*(?P<high>\d+)|(?P<from>\d+)\s*:|:\s*(?P<to>\d+)", re.ASCII)
_MOST = 2**63 - 1
_BOOLEANS = {"true": True, "false": False}


class Column(NamedTuple):
    """A column of the view: its name in SQL, quoted, and its DuckDB type."""

    sql: str
    kind: str


class Condition(NamedTuple):
    """A condition on a column: `bucket=wide` or `condition<0.5`. An empty value means that the value is missing."""

    column: str
    sign: str
    text: str

    @classmethod
    def of(cls, text: object) -> Condition:
        """Read a condition.

        Raises:
            InputError: it is no text of the form COLUMN=VALUE, with =, !=, <, <=, > or >=.
        """
        found = _CONDITION.fullmatch(text) if isinstance(text, str) else None
        if not found:
            raise InputError(
                f"where: {_shown(text)} is no condition; write COLUMN=VALUE, or !=, <, <=, > or >= in place of ="
            )
        return cls(found[1], found[2], found[3].strip())

    def value(self, columns: Mapping[str, Column]) -> Value:
        """Return the value in the type of the column; None if it is missing.

        Args:
            columns: the columns by the names that conditions use.
        Raises:
            InputError: an unknown column, a value of another type, or an order of what has none.
        """
        if self.column not in columns:
            hint = did_you_mean(self.column, columns, otherwise=f"the columns are {', '.join(columns)}")
            raise InputError(f"where: no column is called {_shown(self.column)}; {printable(hint)}")
        kind = columns[self.column].kind
        if self.sign not in ("=", "!=") and (not self.text or kind in ("VARCHAR", "BOOLEAN")):
            what = "a missing value" if not self.text else {"VARCHAR": "text"}.get(kind, "true or false")
            raise InputError(f"where: {self}: {what} has no order; compare it by = or !=")
        return _read(self, kind) if self.text else None

    def __str__(self) -> str:
        """Return the condition as it is written, cut to a readable length."""
        return printable(f"{self.column:.80}{self.sign}{self.text:.80}")


def sql(column: Column, sign: str, variable: str, missing: bool) -> str:
    """Write a condition as SQL. NaN is above and below nothing; a missing value is other than every value.

    Args:
        variable: the name of the DuckDB variable with the value.
        missing: the value is that of missing ones.
    """
    name, kind = column
    if missing:
        empty = f"coalesce({name}, '') = ''" if kind == "VARCHAR" else f"{name} IS NULL"
        return empty if sign == "=" else f"NOT ({empty})"
    value = f"getvariable('{variable}')"
    if sign in ("=", "!="):
        return f"{name} IS {'NOT ' if sign == '=' else ''}DISTINCT FROM {value}"
    number = f" AND NOT isnan({name})" if kind in ("DOUBLE", "FLOAT") else ""
    return f"({name} {sign} {value}{number})"


def range_of(name: str, given: object) -> Range | None:
    """Read a range of whole numbers with both ends: 5, "3-10", "3:10", "3:", ":10" or (3, None).

    Raises:
        InputError: it is none of these, or empty.
    """
    if given is None:
        return None
    found = _RANGE.fullmatch(given.strip()) if isinstance(given, str) else None
    if found:
        low, high = found["low"] or found["from"] or found["only"], found["high"] or found["to"] or found["only"]
        ends: object = (low and int(low), high and int(high))
    else:
        ends = (given, given) if type(given) is int else given
    if not isinstance(ends, tuple) or len(ends) != 2 or not all(_is_end(end) for end in ends) or ends == (None, None):
        raise InputError(f"{name}: {_shown(given)} is no range; write 5, 3-10, 3: or :10, where both ends are included")
    low, high = ends
    if low is not None and high is not None and low > high:
        raise InputError(f"{name}: {_shown(given)} is empty, as its end is below its beginning; write {high}-{low}")
    return low, high


def _is_end(end: object) -> bool:
    return end is None or (type(end) is int and 0 <= end <= _MOST)


def _read(condition: Condition, kind: str) -> Value:
    text = condition.text
    if kind == "VARCHAR":
        return text
    if kind == "BOOLEAN":
        if text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        raise InputError(f"where: {condition}: expected true or false")
    whole = kind not in ("DOUBLE", "FLOAT")
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = None
    if value is None or (whole and abs(value) > _MOST):
        expected = "a whole number" if whole else "a number"
        raise InputError(f"where: {condition}: expected {expected}") from None
    return value


def _shown(given: object) -> str:
    return printable(repr(given))[:100]
