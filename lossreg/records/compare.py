"""The same examples in two runs, splits, or stretches of epochs or steps: how their losses changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lossreg.errors import InputError
from lossreg.messages import did_you_mean, printable
from lossreg.records.examples import Key, check_top_k, details, example_rows
from lossreg.records.filters import Filters, filtered
from lossreg.records.ranking import ranked
from lossreg.records.reader import Records, connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What may differ between the sides: the argument of Filters, and what an example in both must have in common.
_BY = {
    "run": ("runs", ("split",)),
    "split": ("splits", ("run",)),
    "epochs": ("epochs", ("run", "split")),
    "steps": ("steps", ("run", "split")),
}
_SURELY = 1.645  # standard errors: 5 % on one side
_SIDES = ("compared_first", "compared_second")
_NUMBERS = (
    "looks_first",
    "looks_second",
    "score_first",
    "score_second",
    "change",
    "error",
    "mean_first",
    "mean_second",
)


def compare_runs(
    records: Records, first: str, second: str, *, by: str = "run", filters: Filters | None = None, top_k: int = 20
) -> dict[str, Any]:
    """Compare the losses of the same examples in two runs, splits, or stretches of epochs or steps.

    Each side is ranked by itself, as `rank_examples` does. An example that lost as much as its contemporaries on both
    sides has not changed, even if the losses of all have. Their change is that of the middle.

    ```python
    compare_runs("records", "night-7", "night-8")
    compare_runs("records", ":2", "8:", by="epochs", filters=Filters(splits="train"))
    ```

    Args:
        records: as for `aggregate_by_dataset`.
        first, second: two runs; or two splits, or two ranges of epochs or steps such as "3-10", depending on `by`.
        by: run, split, epochs or steps.
        filters: which rows enter both sides; None for all.
        top_k: number of examples, 0 to 100,000.
    Returns:
        plain data that JSON holds:

        - by, first, second: the arguments.
        - both, only_first, only_second: numbers of examples. The same example has the same dataset and sample_id (or
          path), and the same run and split unless these are compared. One without a name is not counted.
        - middle_first, middle_second, middle_change: the median of the mean losses of the examples in both.
        - examples: those whose score changed most surely: by the change less 1.645 of its error, then by the change
          where that is not known. Each has run, split, dataset, sample_id, path, caption; looks, score
          and mean loss of both sides; change: the second score less the first, in the unit of the ranking; and the
          standard error of the change, null where no example was seen twice.
    Raises:
        InputError: rows that cannot be records, a side without rows, no example in both, or an argument out of range.
        RecordsError: a directory that cannot be read.
    """
    check_top_k(top_k)
    sides = _sides(first, second, by, filters or Filters())
    with connect(records) as connection, _compared(connection, sides, _BY[by][1]):
        found = _counts(connection)
        if not found["both"]:
            raise InputError(
                f"no example is in both {_shown(first)} and {_shown(second)}: the same example has the same dataset and"
                f" sample_id (or path), and the same {' and '.join(_BY[by][1])}; write the same names in both"
            )
        return {"by": by, "first": first, "second": second, **found, "examples": _examples(connection, top_k)}


def _sides(first: object, second: object, by: str, filters: Filters) -> tuple[Filters, Filters]:
    if by not in _BY:
        hint = did_you_mean(str(by), _BY, otherwise=f"choose {', '.join(_BY)}")
        raise InputError(f"by: records are not compared by {_shown(by)}; {hint}")
    argument = _BY[by][0]
    if by in ("run", "split") and not (isinstance(first, str) and isinstance(second, str)):
        raise InputError(f"{_shown(second if isinstance(first, str) else first)} is no name of one {by}; give a text")
    if getattr(filters, argument):
        raise InputError(f"filters: {argument} are what is compared; leave {argument} out")
    changes: tuple[dict[str, Any], ...] = ({argument: first}, {argument: second})
    sides = replace(filters, **changes[0]), replace(filters, **changes[1])
    if sides[0] == sides[1]:
        raise InputError(f"{_shown(first)} is compared with itself; give two different {argument}")
    return sides


@contextmanager
def _compared(connection: DuckDBPyConnection, sides: tuple[Filters, Filters], same: tuple[str, ...]) -> Iterator[None]:
    """Make a table of the scores of each side, and the view `compared` of the examples in both."""
    try:
        for table, filters in zip(_SIDES, sides, strict=True):
            with filtered(connection, filters), ranked(connection):
                connection.execute(
                    f"CREATE TEMP TABLE {table} AS SELECT run, split, dataset, key, kind, looks, score, error, mean"
                    " FROM ranked WHERE lone IS NULL"
                )
        equal = " AND ".join(f"a.{name} IS NOT DISTINCT FROM b.{name}" for name in (*same, "dataset", "key", "kind"))
        common = (f"{f'a.{name}' if name in same else 'NULL'} AS {name}" for name in ("run", "split"))
        connection.execute(f"""
            CREATE TEMP VIEW compared AS SELECT {", ".join(common)}, a.dataset, a.key, a.kind,
                a.looks AS looks_first, b.looks AS looks_second, a.score AS score_first, b.score AS score_second,
                b.score - a.score AS change, sqrt(a.error * a.error + b.error * b.error) AS error,
                a.mean AS mean_first, b.mean AS mean_second
            FROM {_SIDES[0]} AS a JOIN {_SIDES[1]} AS b ON {equal}""")
        yield
    finally:  # the connection may be the caller's
        connection.execute("DROP VIEW IF EXISTS compared")
        for table in _SIDES:
            connection.execute(f"DROP TABLE IF EXISTS {table}")


def _counts(connection: DuckDBPyConnection) -> dict[str, Any]:
    ((first, second, both, before, after),) = connection.execute(f"""
        SELECT (SELECT count(*) FROM {_SIDES[0]}), (SELECT count(*) FROM {_SIDES[1]}), count(*), median(mean_first),
            median(mean_second) FROM compared""").fetchall()
    return {
        "both": both,
        "only_first": first - both,
        "only_second": second - both,
        "middle_first": before,
        "middle_second": after,
        "middle_change": None if before is None or after is None else after - before,
    }


def _examples(connection: DuckDBPyConnection, number: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        f"SELECT run, split, dataset, key, {', '.join(_NUMBERS)} FROM compared"
        f" ORDER BY abs(change) - {_SURELY} * error DESC NULLS LAST, abs(change) DESC, run, split, dataset, kind, key"
        f" LIMIT {number}"
    ).fetchall()
    chosen = list({Key(row[2], row[3], None) for row in rows})
    fields = dict(details(connection, example_rows(connection), chosen))
    found = []
    for run, split, dataset, key, *numbers in rows:
        names = {name: fields[Key(dataset, key, None)][name] for name in ("dataset", "sample_id", "path", "caption")}
        found.append({"run": run, "split": split, **names, **dict(zip(_NUMBERS, numbers, strict=True))})
    return found


def _shown(given: object) -> str:
    return printable(repr(given))[:100]
