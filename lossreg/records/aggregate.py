"""Losses per dataset and over all: statistics, and the examples with the highest and the lowest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from lossreg.errors import InputError
from lossreg.records.database import identifier
from lossreg.records.examples import EXAMPLE, Ends, check_top_k, details, ends, example_rows
from lossreg.records.filters import Filters, filtered
from lossreg.records.float_sql import variance_about
from lossreg.records.median import medians
from lossreg.records.parts import Part, by_part, check_one, common, parts
from lossreg.records.ranking import Ranking, ranked, result
from lossreg.records.reader import Records, components, connect
from lossreg.records.record_schema import COMPONENT

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Scope = str | None  # a dataset, or all


def aggregate_by_dataset(
    records: Records, top_k: int = 10, *, filters: Filters | None = None, together: bool = False
) -> dict[str, Any]:
    """Compute statistics of the losses in each dataset and over all.

    Counts, median, minimum and maximum are exact. Means and variances are compensated sums: they differ from the exact
    value, and between orders of the rows, by less than 1e-12 of the mean magnitude (or square). Losses that are NaN or
    infinite are counted, and enter nothing else.

    ```python
    aggregate_by_dataset("records", filters=Filters(splits="val"))["overall"]["mean"]
    ```

    Args:
        records: a directory of shards; an iterable of mappings, such as a list of dicts or a generator; a mapping of
            columns; or the connection from `reader.connect`, for other limits of memory and threads.
        top_k: number of examples at either end, 0 to 100,000.
        filters: which rows count; None for all.
        together: sum over several runs and splits. Otherwise these are an error; `aggregate_by_run` gives each.
    Returns:
        {"run": ..., "split": ..., "overall": ..., "datasets": {name: ...}, "ranking": ...}, of plain data that JSON
        holds. A run or a split is null where it is missing, or where several are summed. The ranking has reliability,
        sure and note, as `rank_examples` gives them. overall and each data set have

        - count: rows with a finite loss; nan, infinite: the other rows; items: distinct examples.
        - mean (weighted by `weight`), median, minimum, maximum, variance (sample variance): every row counts once but
          in the mean. null where no row is finite, and where a sum (of squares) is beyond the range of floats; variance
          also below two rows.
        - components: {name: mean}, weighted, of rows where loss and component are finite.
        - highest, lowest: examples by their score, as in `rank_examples`: how much more they lose than others did at
          that time. Equal scores are in the order of the means; means that are equal to 12 digits in that of dataset,
          sample_id and path. The rows of an example have the same dataset and sample_id or, without one, path; without
          both, each row is one. It has dataset, sample_id, path, caption (the smallest of each), count, mean, minimum,
          maximum; variance: of its means per epoch (or step, without an epoch), null below two; and looks, score, error
          and verdict of the ranking.
    Raises:
        InputError: rows that cannot be records, several runs or splits, filters that leave no row, a weight that is not
            above 0, or a top_k out of range.
        RecordsError: a directory that cannot be read.
    """
    check_top_k(top_k)
    with connect(records) as connection, filtered(connection, filters):
        found = parts(connection)
        if not together:
            check_one(found)
        return aggregate(connection, common(found), top_k, together=together)[0]


def aggregate_by_run(records: Records, top_k: int = 10, *, filters: Filters | None = None) -> list[dict[str, Any]]:
    """Compute what `aggregate_by_dataset` does for each run and split.

    ```python
    for one in aggregate_by_run("records"):
        print(one["run"], one["split"], one["overall"]["median"])
    ```

    Args:
        records, top_k, filters: as for `aggregate_by_dataset`.
    Returns:
        a result for each run and split that has rows, in the order of their names, those without a name first; without
        rows, one of none.
    Raises:
        InputError: rows that cannot be records, filters that leave no row, a weight that is not above 0, or a top_k out
            of range.
        RecordsError: a directory that cannot be read.
    """
    check_top_k(top_k)
    with connect(records) as connection, filtered(connection, filters):
        return by_part(connection, lambda part: aggregate(connection, part, top_k)[0])


def aggregate(
    connection: DuckDBPyConnection, part: Part, top_k: int, *, together: bool = False
) -> tuple[dict[str, Any], Ranking]:
    """Compute the result of `aggregate_by_dataset` of all rows in the view `records`, and their ranking.

    Args:
        part: whose rows these are.
        together: they may be of several runs and splits.
    """
    found = statistics(connection)
    with ranked(connection, together=together):
        ranking = result(connection, top_k)
        _add_examples(connection, found, top_k)
    overall = found.pop(None)
    head = {"reliability": ranking.reliability, "sure": ranking.sure, "note": ranking.note}
    return {**part._asdict(), "overall": overall, "datasets": found, "ranking": head}, ranking


def statistics(connection: DuckDBPyConnection) -> dict[Scope, dict[str, Any]]:
    """Compute the statistics of each dataset and, under None, of all, without examples. Datasets are in order."""
    items = _items(connection)
    names = components(connection)
    middle = medians(connection)
    found: dict[Scope, dict[str, Any]] = {}
    for row in _rows(connection, names, middle):
        dataset, overall, lightest, heaviest, count, nan, infinite, least, most, spread, *means = row
        _check_weights(lightest, heaviest)
        scope = None if overall else dataset
        mean, *parts = map(_finite, means)
        found[scope] = {
            "count": count,
            "nan": nan,
            "infinite": infinite,
            "items": sum(items.values()) if overall else items[dataset],
            "mean": mean,
            "median": middle.get(scope),
            "minimum": least,
            "maximum": most,
            "variance": spread,
            "components": {name.removeprefix(COMPONENT): part for name, part in zip(names, parts, strict=True)},
        }
    return found


def _rows(connection: DuckDBPyConnection, names: Sequence[str], middle: Mapping[Scope, float]) -> list[tuple[Any, ...]]:
    """Query a row of numbers for all and for each dataset, in this order, in one pass."""
    finite = "FILTER (isfinite(loss))"
    means = ", ".join(_weighted_mean(identifier(name)) for name in ["loss", *names])
    query = f"""
        SELECT dataset, grouping(dataset) = 1, min(weight), max(weight), count(*) {finite},
            count(*) FILTER (isnan(loss)), count(*) FILTER (isinf(loss)), min(loss + CAST(0 AS DOUBLE)) {finite},
            max(loss + CAST(0 AS DOUBLE)) {finite}, CASE WHEN grouping(dataset) = 1
                THEN {variance_about("from_all")} ELSE {variance_about("from_own")} END, {means}
        FROM (
            SELECT records.*, CASE WHEN isfinite(loss) THEN loss - ? END AS from_all,
                CASE WHEN isfinite(loss) THEN loss - median END AS from_own
            FROM records LEFT JOIN (SELECT unnest(?::VARCHAR[]) AS dataset, unnest(?::DOUBLE[]) AS median)
                USING (dataset))
        GROUP BY GROUPING SETS ((), (dataset)) ORDER BY 2 DESC, 1"""
    return connection.execute(query, [middle.get(None), list(middle), list(middle.values())]).fetchall()


def _weighted_mean(value: str) -> str:
    counted = f"FILTER (isfinite(loss) AND isfinite({value}))"
    return f"fsum(weight * {value}) {counted} / fsum(weight) {counted}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _check_weights(lightest: float | None, heaviest: float | None) -> None:
    """Check the range of weights in shards that other programs wrote. NaN is the greatest."""
    if lightest is not None and heaviest is not None and not 0 < lightest <= heaviest < math.inf:
        wrong = heaviest if lightest > 0 else lightest
        raise InputError(f"records have a weight of {wrong}; weights are finite and above 0", column="weight")


def _items(connection: DuckDBPyConnection) -> dict[str, int]:
    """Count the examples of each dataset."""
    examples = f"SELECT DISTINCT {EXAMPLE} FROM {example_rows(connection)}"
    return dict(connection.execute(f"SELECT dataset, count(*) FROM ({examples}) GROUP BY dataset").fetchall())


def _add_examples(connection: DuckDBPyConnection, found: dict[Scope, dict[str, Any]], number: int) -> None:
    """Add the examples at either end of the ranking, within `ranked`."""
    by_dataset = ends(connection, number)
    overall = Ends(*(sorted(chain(*places))[:number] for places in zip(*by_dataset.values(), strict=True)))
    chosen = {place.example for one in by_dataset.values() for place in chain(*one)}
    fields = dict(details(connection, example_rows(connection), list(chosen), ranked=True))
    for scope, statistics in found.items():
        of_scope = overall if scope is None else by_dataset.get(scope, Ends())
        for name, places in of_scope._asdict().items():
            statistics[name] = [fields[place.example] for place in places]
