"""The part of a report that is about examples: how sure their order is, their lists, and the data map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from lossreg.records.ranking.rank import result
from lossreg.records.report.curves import curves
from lossreg.records.report.data_map import data_map
from lossreg.records.report.hardest import RANKED, Example, by_dataset, describe, lists, not_finite
from lossreg.records.report.pictures import Album

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lossreg.records.report.series import Steps

# What a function that draws is given of an example, besides the user's own columns.
PUBLIC = ("run", "split", "dataset", "sample_id", "path", "caption", "control", "looks", "score", "mean")
MOST_ROWS = 250  # of all lists by dataset together, but at least 5 each
MOST_GROUPS = 20  # runs and splits whose reliability is shown
MOSTLY, PARTLY = 0.8, 0.5  # reliability


def examples(
    connection: DuckDBPyConnection,
    datasets: Sequence[str],
    steps: Steps | None,
    decimals: int,
    *,
    top_k: int,
    album: Album,
) -> dict[str, Any]:
    """Compute the variables of the templates, within `ranked`.

    Args:
        datasets: those that the page lists.
        steps: the axis of the examples' curves.
    """
    ranking = result(connection, 0)
    found = lists(connection, top_k)
    each = max(5, MOST_ROWS // max(1, len(datasets)))
    apart = by_dataset(connection, datasets, each) if len(datasets) > 1 else {}
    broken = not_finite(connection, top_k)
    listed = [example for one in found.values() for example in one["items"]]
    further = [example for items in apart.values() for example in items]
    describe(connection, [*listed, *further])
    for example, drawn in zip(listed, curves(connection, listed, steps, decimals), strict=True):
        public = {name: example[name] for name in PUBLIC}
        example |= {"curve": drawn, "pictures": album.of(example["own"] | public)}
    for example in chain(further, broken):
        example |= {"curve": None, "pictures": album.small(example["path"])}
    for one in found.values():
        one["ids"] = [example["sample_id"] for example in one["items"] if example["sample_id"]]
    return {
        "ranking": ranking,
        "sentence": _sentence(ranking.reliability),
        "groups": ranking.groups[:MOST_GROUPS],
        "map": data_map(connection, RANKED, listed),
        "broken": broken,
        "worst_by_dataset": [(name, items) for name, items in apart.items() if items],
        **found,
        **_columns(listed, further, broken, ranking, several=len(datasets) > 1),
    }


def _sentence(reliability: float | None) -> str:
    if reliability is None:
        return "how much of the order is chance cannot be told"
    if reliability >= MOSTLY:
        return "the order is mostly real"
    return "the order is partly real and partly chance" if reliability >= PARTLY else "the order is mostly chance"


def _columns(
    listed: Sequence[Example], further: Sequence[Example], broken: Sequence[Example], ranking: Any, *, several: bool
) -> dict[str, Mapping[str, bool]]:
    """Choose the columns of the tables: those that some row fills."""
    rows = [*listed, *further, *broken]
    columns = {
        "images": any(any(example["pictures"].size) for example in rows),
        "runs": len({group.run for group in ranking.groups}) > 1,
        "splits": len({group.split for group in ranking.groups}) > 1,
        "datasets": several,
        "curves": any(example["curve"] for example in listed),
    }
    overlays = {
        name: any(getattr(example["pictures"], name).uri for example in listed) for name in ("target", "prediction")
    }
    return {"columns": columns, "columns_of_one": {**columns, "datasets": False, "curves": False}, "overlays": overlays}
