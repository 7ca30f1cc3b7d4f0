"""Records as CSV, and aggregates with every example as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import duckdb

from lossreg.errors import LossregError
from lossreg.messages import printable
from lossreg.records.aggregate import aggregate
from lossreg.records.atomic_write import atomic_write
from lossreg.records.database import identifier, literal, reason
from lossreg.records.examples import check_top_k, details, example_rows
from lossreg.records.filters import Filters, filtered
from lossreg.records.parts import Part, by_part
from lossreg.records.ranking import ranked
from lossreg.records.reader import Records, components, connect, left_out
from lossreg.records.record_schema import COLUMNS, OWN

_FIRST = ("path", "dataset", "caption", "loss", "sample_id", "step", "epoch", "split", "run", "rank", "weight")
# What a spreadsheet computes, as regular expressions of Python and of RE2 alike. Numbers are harmless.
FORMULA = r"[=+\-@\t\r\n]"
NUMBER = r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?"


def export_csv(
    records: Records, path: str | PathLike[str], *, filters: Filters | None = None, formulas: bool = False
) -> None:
    """Write every row with all its columns, and a header, in UTF-8.

    The columns are path, dataset, caption, loss; sample_id, step, epoch, split, run, rank and weight; the components of
    the loss; condition, draw, unconditional, control; and your own. Fields with commas, quotes or line breaks are
    quoted. Missing values are empty; losses that are not finite are nan, inf and -inf.

    A spreadsheet would compute a text that begins with =, +, -, @, a tab or a line break. Such a text gets a ' before
    it. Numbers stay as they are, also negative ones.

    ```python
    export_csv("records", "validation.csv", filters=Filters(splits="val"))
    ```

    Args:
        records: as for `aggregate_by_dataset`.
        path: the file. An existing file is replaced once the new one is complete.
        filters: which rows; None for all.
        formulas: write every text unchanged, for programs that compute nothing.
    Raises:
        InputError: rows that cannot be records, or filters that leave no row.
        RecordsError: a directory that cannot be read.
        LossregError: the file cannot be written.
    """
    with connect(records) as connection, filtered(connection, filters), _writing(Path(path)) as temporary:
        connection.execute(
            f"COPY (SELECT {', '.join(_cells(connection, formulas))} FROM records) TO {literal(temporary)}"
            " (FORMAT csv, HEADER, DELIMITER ',', QUOTE '\"', ESCAPE '\"')"
        )


def export_json(
    records: Records,
    path: str | PathLike[str],
    top_k: int = 10,
    *,
    filters: Filters | None = None,
    together: bool = False,
) -> None:
    """Write the aggregates and, under "items", every example, as JSON that has neither NaN nor infinities.

    The file has what `aggregate_by_dataset` returns; of several runs or splits, a list of these, "runs"; and
    "left_out": the number of repeated rows that do not count, by run. Examples are written one per line, by run, split,
    dataset and name: run, split, dataset, sample_id, path, caption, count, mean, minimum, maximum, variance; and looks,
    score, error and verdict, as `rank_examples` gives them, null without a finite loss. They are never all in memory.

    Args:
        records: as for `aggregate_by_dataset`.
        path: the file. An existing file is replaced once the new one is complete.
        top_k: number of examples at either end, in the aggregates.
        filters: which rows; None for all.
        together: sum over several runs and splits.
    Raises:
        InputError: rows that cannot be records, filters that leave no row, or a top_k out of range.
        RecordsError: a directory that cannot be read.
        LossregError: the file cannot be written.
    """
    check_top_k(top_k)
    with connect(records) as connection, filtered(connection, filters):
        results = by_part(
            connection, lambda part: aggregate(connection, part, top_k, together=together)[0], together=together
        )
        found = results[0] if len(results) == 1 else {"runs": results}
        head = json.dumps({**found, "left_out": left_out(connection)}, allow_nan=False)
        with _writing(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(head.removesuffix("}") + ', "items": [')
            encode, separator = json.JSONEncoder(allow_nan=False).encode, "\n"

            def write(part: Part) -> None:
                nonlocal separator
                with ranked(connection, together=together):
                    for _, example in details(connection, example_rows(connection), ranked=True):
                        file.write(separator + encode({**part._asdict(), **example}))
                        separator = ",\n"

            by_part(connection, write, together=together)
            file.write("\n]}\n")


def write_out(text: str, path: str | PathLike[str]) -> None:
    """Write a text to a file. An existing file is replaced once the new one is complete.

    Raises:
        LossregError: the file cannot be written.
    """
    with _writing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def harmless(text: str) -> str:
    """Return a cell that a spreadsheet does not compute: with a ' before it if it would."""
    return f"'{text}" if re.match(FORMULA, text) and not re.fullmatch(NUMBER, text) else text


def _cells(connection: duckdb.DuckDBPyConnection, formulas: bool) -> Iterator[str]:
    """Write each column of the file as SQL, in order."""
    found = {row[0]: row[1] for row in connection.execute("DESCRIBE records").fetchall() if row[0] != "row_id"}
    parts_of_loss = components(connection)
    own = sorted(name for name in found if name.startswith(OWN))
    others = [name for name in COLUMNS if name not in _FIRST]
    for name in [*_FIRST, *parts_of_loss, *others, *own]:
        value = identifier(name)
        if found[name] == "VARCHAR":
            value = f"nullif({value}, '')"
            if not formulas:
                computed = f"regexp_matches({value}, '^{FORMULA}') AND NOT regexp_full_match({value}, '{NUMBER}')"
                value = f"CASE WHEN {computed} THEN '''' || {value} ELSE {value} END"
        heading = name.removeprefix(OWN)
        yield f"{value} AS {identifier(heading if formulas else harmless(heading))}"


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Yield a temporary file for `path`; errors name `path`."""
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except (OSError, duckdb.IOException) as error:
        if isinstance(error, LossregError):
            raise
        raise LossregError(f"{printable(str(path))}: cannot be written: {printable(reason(error))}") from error
