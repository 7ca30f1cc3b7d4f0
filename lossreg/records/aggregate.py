"""Losses per dataset and over all: statistics, and the examples with the highest and the lowest."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from lossreg.errors import InputError
from lossreg.records.exact_sums import Moments, moments, weighted_means
from lossreg.records.examples import Place, Ranking, check_number, details, items_of, ranking
from lossreg.records.median import medians
from lossreg.records.reader import Records, components, connect, identifier
from lossreg.records.record_schema import COMPONENT

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Scope = str | None  # a dataset, or all


def aggregate_by_dataset(records: Records, top_k: int = 10) -> dict[str, Any]:
    """Statistics of the losses in each dataset and over all.

    They are exact, and the same to the last bit however the rows are ordered and split. Losses that are NaN or infinite
    are counted, and enter nothing else.

    Args:
        records: a directory of shards; an iterable of mappings, such as a list of dicts or a generator; a mapping of
            columns; or what `source.connect` gave, for other limits of memory and threads.
        top_k: how many examples to name at either end, 0 to 100,000.
    Returns:
        {"overall": ..., "datasets": {name: ...}}, of plain data that JSON holds. Each has

        - count: rows with a finite loss; nan, infinite: rows with another; items: distinct examples.
        - mean (weighted by `weight`), median, minimum, maximum, variance (sample variance): every row counts once but
          in the mean. null where no row is finite; variance also below two rows, and beyond the range of floats.
        - components: {name: mean}, weighted, of rows where loss and component are finite.
        - highest, lowest: examples by the mean of their losses; those with equal means by dataset, sample_id and path.
          An example is what has the same dataset and sample_id or, without one, path; without both, one row. It has
          dataset, sample_id, path, caption (the smallest of each), count, mean, minimum, maximum, and variance: of its
          means per epoch (or step, where no epoch was said); null below two.
    Raises:
        InputError: rows that cannot be records, a weight that is not above 0, or a top_k that cannot be.
        RecordsError: a directory that cannot be read.
    """
    check_number("top_k", top_k)
    with connect(records) as connection:
        found = _statistics(connection)
        _add_items(connection, found, top_k)
    overall = found.pop(None)
    return {"overall": overall, "datasets": found}


def _statistics(connection: DuckDBPyConnection) -> dict[Scope, dict[str, Any]]:
    """All but what is known of items, per dataset and under None over all. Datasets are in order."""
    counts = _counts(connection)
    sums, buckets = moments(connection, "loss")
    total: dict[Scope, Moments] = {None: sum(sums.values(), Moments())} | sums
    middle = medians(connection, buckets)
    means = _means(connection, total, {counts[None].pop(name) for name in ("lightest", "heaviest")} != {1.0})
    found = {}
    for scope, one in counts.items():
        loss = total.get(scope, Moments())
        found[scope] = {
            "count": loss.rows,
            "nan": one["nan"],
            "infinite": one["infinite"],
            "items": 0,
            "mean": means["loss"].get(scope),
            "median": middle.get(scope),
            "minimum": one["minimum"],
            "maximum": one["maximum"],
            "variance": loss.variance,
            "components": {
                name.removeprefix(COMPONENT): mean.get(scope) for name, mean in means.items() if name != "loss"
            },
        }
    return found


def _counts(connection: DuckDBPyConnection) -> dict[Scope, dict[str, Any]]:
    """What needs no exact sums, and the range of the weights."""
    rows = connection.execute("""
        SELECT dataset, grouping(dataset) = 1 AS whole, count(*) FILTER (isnan(loss)) AS nan,
            count(*) FILTER (isinf(loss)) AS infinite, min(loss + CAST(0 AS DOUBLE)) FILTER (isfinite(loss)) AS minimum,
            max(loss + CAST(0 AS DOUBLE)) FILTER (isfinite(loss)) AS maximum,
            min(weight) AS lightest, max(weight) AS heaviest
        FROM records GROUP BY GROUPING SETS ((), (dataset)) ORDER BY dataset""")
    names = [column[0] for column in rows.description][2:]
    found: dict[Scope, dict[str, Any]] = {
        None if whole else dataset: dict(zip(names, values, strict=True)) for dataset, whole, *values in rows.fetchall()
    }
    lightest, heaviest = found[None]["lightest"], found[None]["heaviest"]
    if lightest is not None and not 0 < lightest <= heaviest < float("inf"):  # NaN is the greatest
        wrong = heaviest if lightest > 0 else lightest
        raise InputError(f"records have a weight of {wrong}; weights are finite and above 0", column="weight")
    return found


def _means(
    connection: DuckDBPyConnection, losses: Mapping[Scope, Moments], weighted: bool
) -> dict[str, Mapping[Scope, float | None]]:
    """The mean of the loss and of each component, by column."""
    names = components(connection)
    finite = "isfinite(loss)"
    if weighted:
        return {name: weighted_means(connection, identifier(name), finite) for name in ["loss", *names]}
    found: dict[str, Mapping[Scope, float | None]] = {"loss": {scope: one.mean for scope, one in losses.items()}}
    for name in names:
        sums, _ = moments(connection, identifier(name), finite)
        found[name] = {None: sum(sums.values(), Moments()).mean} | {scope: one.mean for scope, one in sums.items()}
    return found


def _add_items(connection: DuckDBPyConnection, found: dict[Scope, dict[str, Any]], number: int) -> None:
    """The number of items, and those at either end."""
    items = items_of(connection)
    by_dataset = ranking(connection, items, number)
    overall = Ranking(
        sum(one.items for one in by_dataset.values()),
        _first(number, *(one.highest for one in by_dataset.values())),
        _first(number, *(one.lowest for one in by_dataset.values())),
    )
    ranked: dict[Scope, Ranking] = {None: overall} | by_dataset
    chosen = {place.item for one in ranked.values() for place in (*one.highest, *one.lowest)}
    known = dict(details(connection, items, list(chosen)))
    for scope, one in ranked.items():
        found[scope]["items"] = one.items
        found[scope]["highest"] = [known[place.item] for place in one.highest]
        found[scope]["lowest"] = [known[place.item] for place in one.lowest]


def _first(number: int, *places: list[Place]) -> list[Place]:
    return sorted(chain(*places))[:number]
