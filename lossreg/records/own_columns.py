"""Columns of the user's own: their names, and their types, which stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import numpy as np

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.column_values import is_own, shown
from lossreg.records.record_schema import COLUMNS, COMPONENT

# The numbers of a row that DuckDB gives; a column of the same name would hide them.
HIDING = ("file_index", "file_row_number")
_ARGUMENTS = {"sample_ids": "sample_id"}  # what `add` calls a column
_LONGEST = 100  # characters
_FAMILIES = {"O": "text", "U": "text", "b": "truth values", "i": "numbers", "f": "numbers"}  # by the kind of the array


def check_own_name(name: object, where: str) -> None:
    """Check the name of a column of the user's own.

    Raises:
        InputError: no text; a name that a column has, or nearly has; or one that no file can hold.
    """
    if not isinstance(name, str):
        raise InputError(f"{where}: the name of a column must be text, got {printable(repr(name)):.80}", column=name)
    for known in (*COLUMNS, *_ARGUMENTS):
        if _is_near(name, known):
            meant = _ARGUMENTS.get(known, known)
            raise InputError(
                f"{where}: unknown column {printable(repr(name))}; did you mean {meant!r}? A column of your own needs a"
                f" name that is less like it, such as {'my_' + printable(name)!r}",
                column=name,
            )
    if not (name.strip() == name and 0 < len(name) <= _LONGEST and name.isprintable()):
        raise InputError(
            f"{where}: the name of a column must have 1 to {_LONGEST} printable characters, and no blanks around them,"
            f" got {printable(repr(name)):.120}",
            column=name,
        )
    lower = name.lower()
    if lower in HIDING or lower.startswith(COMPONENT):
        why = f"{COMPONENT}... is a component of the loss" if lower.startswith(COMPONENT) else "DuckDB has it itself"
        raise InputError(
            f"{where}: {printable(name)!r} cannot be a column of your own: {why}; rename it, such as"
            f" {'my_' + printable(name)!r}",
            column=name,
        )


def check_given(columns: object) -> None:
    """Check the names in the argument `columns` of `RecordWriter.add`.

    Raises:
        InputError: no mapping, the name of an argument, or a name as in `check_own_name`.
    """
    if not isinstance(columns, Mapping):
        raise InputError(f"columns must be a mapping of names to values, got {shown(columns)}")
    for name in columns:
        if name in COLUMNS or name in _ARGUMENTS:
            argument = "sample_ids" if name == "sample_id" else name
            raise InputError(f"columns: {name!r} is a column already; give it as add({argument}=...)", column=name)
        check_own_name(name, "columns")


def check_component(name: str, where: str) -> None:
    """Check that a file can hold the name of a component's column.

    Raises:
        InputError: it has a character that UTF-8 cannot hold, or a zero byte.
    """
    try:
        is_storable = b"\0" not in name.encode()
    except UnicodeEncodeError:
        is_storable = False
    if not is_storable:
        raise InputError(
            f"{where}: no file can hold the name {printable(repr(name)):.120}; rename the component", column=name
        )


class OwnTypes:
    """The types of a user's columns. None may change from one batch to the next."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def check(self, chunk: Mapping[str, Any], where: str = "") -> None:
        """Check a batch, and remember the types of its columns.

        Args:
            chunk: columns: arrays, or one value for all rows. Those of the user are checked.
            where: the start of the message, such as "batch 3: ".
        Raises:
            InputError: a column was of another type before. Nothing is remembered then.
        """
        own = {name: values for name, values in chunk.items() if values is not None and is_own(name)}
        found = {name: _FAMILIES[np.asarray(values).dtype.kind] for name, values in own.items()}
        for name, family in found.items():
            if (before := self._found.get(name, family)) != family:
                raise InputError(
                    f"{where}column {printable(name)!r} has {family}, and had {before} before; give one type, or give"
                    " the other values a column of another name",
                    column=name,
                )
        self._found |= found


def _is_near(name: str, known: str) -> bool:
    """Return whether a name is another one but for its case, its underscores and one slip of the fingers."""
    one, other = (text.lower().replace("_", "") for text in (name, known))
    if one == other:
        return True
    for _ in range(2):  # without the same start, then without the same end, turned round
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
        one, other = one[same:][::-1], other[same:][::-1]
    return max(len(one), len(other)) == 1 or (len(one) == 2 and one == other[::-1])
