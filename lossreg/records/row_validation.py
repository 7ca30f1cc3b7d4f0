"""Rows from the user, checked and turned into chunks of columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from lossreg.errors import InputError, ShapeError
from lossreg.messages import printable
from lossreg.records.column_values import Chunk, column, is_own, shown
from lossreg.records.own_columns import OwnTypes, check_component, check_own_name
from lossreg.records.record_schema import COLUMNS, COMPONENT

SIZE = 65_536  # rows


def chunks(rows: object, *, size: int = SIZE) -> Iterator[Chunk]:
    """Check rows, and yield them in chunks of columns. No more than one chunk is in memory.

    Args:
        rows: an iterable of mappings, such as a list of dicts or a generator; or one mapping of columns to equally long
            lists, arrays or tensors. The columns are those of `COLUMNS`, loss_<component>, and the user's own, which
            hold text, numbers or truth values; `loss` is required.
        size: rows of a chunk, >= 1.
    Raises:
        InputError: an invalid row or value; names the row, counted from 0, and the column.
    """
    if isinstance(rows, Mapping):
        every = columns(rows)
        for start in range(0, length(every), size):
            yield {name: None if c is None else c[start : start + size] for name, c in every.items()}
        return
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise InputError(f"records must be an iterable of mappings, or a mapping of columns, got {shown(rows)}")
    remaining, first, types = iter(rows), 0, OwnTypes()
    while batch := list(islice(remaining, size)):
        made = _to_columns(batch, first)
        types.check(made)
        yield made
        first += len(batch)


def columns(given: Mapping[str, object], *, first: int = 0) -> Chunk:
    """Check a mapping of columns. Row numbers in errors count from `first`."""
    check_names(given, "the columns")
    if given.get("loss") is None:
        raise InputError("the columns have no 'loss', which every row needs", column="loss")
    made: Chunk = dict.fromkeys(COLUMNS)
    for name, values in given.items():
        made[name] = None if values is None else column(name, values, first)
    sizes = {name: len(values) for name, values in made.items() if values is not None}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ShapeError(f"columns must have the same length, got {found}", sizes=sizes)
    if made["weight"] is None:
        made["weight"] = np.ones(sizes["loss"])
    return {name: values for name, values in made.items() if not is_own(name) or has_values(values)}


def has_values(values: np.ndarray[Any, Any] | None) -> bool:
    """Check whether a column has any value: without one, the type of a user's column is not known."""
    return values is not None and not (values.dtype == object and all(value is None for value in values))


def length(chunk: Chunk) -> int:
    """Count the rows of a chunk."""
    return len(next(values for values in chunk.values() if values is not None))


def check_names(given: Iterable[Any], where: str) -> None:
    """Check the names of columns: known ones, components, and the user's own. DuckDB ignores case.

    Raises:
        InputError: a name that cannot be one, or that is like a known one; or two that differ in case alone.
    """
    seen: dict[str, str] = {}
    for name in given:
        if isinstance(name, str) and len(name) > len(COMPONENT) and name.startswith(COMPONENT):
            check_component(name, where)
        elif name not in COLUMNS:
            check_own_name(name, where)
        if other := seen.get(name.lower()):
            raise InputError(
                f"{where}: {printable(other)!r} and {printable(name)!r} differ in case alone; rename one", column=name
            )
        seen[name.lower()] = name


def _to_columns(batch: Sequence[Any], first: int) -> Chunk:
    names: dict[str, None] = {}
    for number, row in enumerate(batch, first):
        if not isinstance(row, Mapping):
            raise InputError(
                f"row {number} is {shown(row)}, expected a mapping such as {{'loss': 0.5, 'dataset': 'a'}}", row=number
            )
        if row.keys() - names.keys():
            check_names(row, f"row {number}")
            names |= dict.fromkeys(row)
        if row.get("loss") is None:
            raise InputError(f"row {number} has no 'loss', which every row needs", row=number, column="loss")
    return columns({name: [row.get(name) for row in batch] for name in names}, first=first)
