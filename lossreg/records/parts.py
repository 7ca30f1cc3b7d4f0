"""Parts of the records: the rows of one run and split. Sums over several are made on request alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.filters import Filters, filtered

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
_SHOWN = 5  # parts in a message


class Part(NamedTuple):
    """A run and a split; None where the rows do not say it."""

    run: str | None
    split: str | None

    def __str__(self) -> str:
        """Return both names on one line, as headings and messages show them."""
        run, split = (name and printable(f"{name:.100}") for name in self)
        return f"{run or '(without a run)'}, {split or '(without a split)'}"


def parts(connection: DuckDBPyConnection) -> list[Part]:
    """List the runs and splits that have rows, in the order of their names; without rows, one part of none."""
    columns = "nullif(run, '') AS run, nullif(split, '') AS split"
    found = connection.execute(f"SELECT DISTINCT {columns} FROM records ORDER BY ALL NULLS FIRST").fetchall()
    return [Part(*row) for row in found] or [Part(None, None)]


def by_part(connection: DuckDBPyConnection, compute: Callable[[Part], T], *, together: bool = False) -> list[T]:
    """Compute something of each run and split, while the view `records` has its rows alone.

    Args:
        together: compute it once, of all rows.
    """
    found = parts(connection)
    if together or len(found) == 1:
        return [compute(common(found))]
    results = []
    for part in found:
        with filtered(connection, Filters(runs=part.run or "", splits=part.split or "")):
            results.append(compute(part))
    return results


def common(found: Sequence[Part]) -> Part:
    """Return the run that all parts have and the split that all have; None for each in which they differ."""
    runs, splits = {part.run for part in found}, {part.split for part in found}
    return Part(runs.pop() if len(runs) == 1 else None, splits.pop() if len(splits) == 1 else None)


def check_one(found: Sequence[Part]) -> None:
    """Check that statistics are of one run and split.

    Raises:
        InputError: there are several.
    """
    if len(found) > 1:
        shown = "; ".join(map(str, found[:_SHOWN])) + (f"; and {len(found) - _SHOWN} more" if found[_SHOWN:] else "")
        raise InputError(
            f"the records hold {len(found)} runs and splits, which are not summed unasked ({shown}): choose one with"
            " filters=Filters(runs=..., splits=...), sum them with together=True, or take each from aggregate_by_run"
        )
