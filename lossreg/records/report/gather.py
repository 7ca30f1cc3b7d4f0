"""The contents of a report, gathered from the records. All data that grow with the rows stay in DuckDB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossreg.records.aggregate import aggregate_by_dataset
from lossreg.records.captions import flag_bad_captions
from lossreg.records.report import charts
from lossreg.records.report.axes import decimals_for
from lossreg.records.report.series import Bins, Steps, bins, steps
from lossreg.records.report.thumbnails import Thumbnail, thumbnail

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_DATASETS = 50  # in the table; each has its worst examples
MOST_THUMBNAILS = 300  # different images, about 4 kB each
MOST_ROWS = 250  # of all lists by dataset together, but at least 5 each
RUN_NAMES = 5
COLUMNS = 4  # components in the table of datasets, at most


def contents(connection: DuckDBPyConnection, *, top_k: int, images: Path) -> dict[str, Any]:
    """Compute all variables of the templates but the title."""
    facts = _facts(connection)
    names = f"SELECT DISTINCT run FROM records WHERE run IS NOT NULL ORDER BY 1 LIMIT {RUN_NAMES}"
    binned = bins(connection)
    found = aggregate_by_dataset(connection, top_k=top_k)
    overall = found["overall"]
    components = sorted(overall["components"])
    over_steps = steps(connection, components)
    decimals = decimals_for(overall["median"])
    ranked = sorted(found["datasets"].items(), key=lambda item: (-_rank(item[1]["mean"]), item[0]))[:MOST_DATASETS]
    pictures = _Pictures(images)
    return {
        "facts": facts,
        "run_names": _column(connection, names),
        "decimals": decimals,
        "overall": overall,
        "dataset_count": len(found["datasets"]),
        "components": components[:COLUMNS],
        "components_left_out": len(components[COLUMNS:]),
        "datasets": [_dataset(name, row, binned) for name, row in ranked],
        **_distribution(binned, overall),
        **_over_steps(over_steps, facts, components, decimals),
        **_examples(overall, ranked, _not_finite(connection, top_k), pictures),
        **_flags(flag_bad_captions(connection, top_k=top_k)),
    }


def _facts(connection: DuckDBPyConnection) -> dict[str, Any]:
    """Count the runs, steps and epochs."""
    (found,) = _mappings(
        connection,
        "SELECT count(DISTINCT run) AS runs, count(DISTINCT step) AS steps, min(step) AS first_step,"
        " max(step) AS last_step, count(DISTINCT epoch) AS epochs, min(epoch) AS first_epoch,"
        " max(epoch) AS last_epoch FROM records",
    )
    return found


def _mappings(connection: DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = connection.execute(query)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _column(connection: DuckDBPyConnection, query: str) -> list[Any]:
    return [value for (value,) in connection.execute(query).fetchall()]


def _rank(mean: float | None) -> float:
    return -math.inf if mean is None else mean


def _root(variance: float | None) -> float | None:
    return None if variance is None else math.sqrt(variance)


def _dataset(name: str, row: Mapping[str, Any], binned: Bins | None) -> dict[str, Any]:
    counts = binned.counts.get(name) if binned else None
    drawn = charts.histogram(binned, counts, row["median"]) if binned and counts else None
    return {**row, "name": name, "deviation": _root(row["variance"]), "bars": drawn}


def _distribution(binned: Bins | None, overall: Mapping[str, Any]) -> dict[str, Any]:
    if binned is None:
        return {"scale": None, "overall_bars": None}
    return {
        "scale": charts.scale(binned),
        "overall_bars": charts.histogram(binned, binned.total(), overall["median"]),
    }


def _over_steps(
    found: Steps | None, facts: Mapping[str, Any], components: Sequence[str], decimals: int
) -> dict[str, Any]:
    chart = charts.loss_chart(found, decimals) if found else None
    return {
        "steps": found,
        "chart": chart,
        "no_chart": "" if chart else _why_no_chart(facts),
        "parts": charts.part_charts(found, decimals) if found else [],
        "parts_left_out": len(components) - len(found.components) if found else 0,
    }


def _why_no_chart(facts: Mapping[str, Any]) -> str:
    for unit in ("step", "epoch"):
        first, last = facts[f"first_{unit}"], facts[f"last_{unit}"]
        if first is not None:
            return f"All rows are of {unit} {first:,}." if first == last else "No loss is finite."
    return "The records have neither steps nor epochs."


def _not_finite(connection: DuckDBPyConnection, top_k: int) -> list[dict[str, Any]]:
    """Find the examples with the most losses that are NaN or infinite."""
    return _mappings(
        connection,
        "SELECT dataset, min(sample_id) AS sample_id, min(path) AS path, min(caption) AS caption,"
        " count(*) FILTER (isnan(loss)) AS nan, count(*) FILTER (isinf(loss)) AS infinite, min(step) AS first_step"
        " FROM records WHERE NOT isfinite(loss)"
        " GROUP BY dataset, coalesce(sample_id, path), CASE WHEN coalesce(sample_id, path) IS NULL THEN row_id END"
        f" ORDER BY count(*) DESC, dataset, sample_id, path, first_step LIMIT {top_k}",
    )


def _examples(
    overall: Mapping[str, Any],
    ranked: Sequence[tuple[str, Mapping[str, Any]]],
    not_finite: Sequence[Mapping[str, Any]],
    pictures: _Pictures,
) -> dict[str, Any]:
    """Prepare the lists: the worst over all and by dataset, the best, the broken; and the columns of their tables."""
    worst, best = (_shown_examples(overall[which], pictures) for which in ("highest", "lowest"))
    broken = _shown_examples(not_finite, pictures)
    by_dataset = []
    if len(ranked) > 1:
        each = max(5, MOST_ROWS // len(ranked))
        lists = [(name, row["highest"][:each]) for name, row in ranked]
        by_dataset = [(name, _shown_examples(examples, pictures)) for name, examples in lists if examples]
    rows = [*worst, *best, *broken, *(example for _, examples in by_dataset for example in examples)]
    columns = {
        "images": any(example["thumbnail"].uri for example in rows),
        "datasets": len(ranked) > 1,
        "ranges": any(example.get("count", 0) > 1 for example in rows),
    }
    return {
        "worst": worst,
        "best": best,
        "broken": broken,
        "worst_by_dataset": by_dataset,
        "columns": columns,
        "columns_of_one": {**columns, "datasets": False},
    }


def _shown_examples(examples: Sequence[Mapping[str, Any]], pictures: _Pictures) -> list[dict[str, Any]]:
    return [
        {
            **example,
            "name": _name(example),
            "deviation": _root(example.get("variance")),
            "thumbnail": pictures.of(example["path"]),
        }
        for example in examples
    ]


def _name(example: Mapping[str, Any]) -> str:
    return example["sample_id"] or example["path"] or "without a name"


def _flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    rules = [
        {
            "name": rule.replace("_", " ").capitalize(),
            "count": found["count"],
            "share": f"{found['count'] / flags['checked']:.2%}",
            "examples": [{**example, "name": _name(example)} for example in found["examples"]],
        }
        for rule, found in flags["rules"].items()
        if found["count"]
    ]
    unflagged = [rule.replace("_", " ") for rule, found in flags["rules"].items() if not found["count"]]
    return {"flags": flags, "rules": rules, "unflagged": unflagged}


class _Pictures:
    """Thumbnails by path: each is made once, up to a limit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Thumbnail] = {}

    def of(self, path: str | None) -> Thumbnail:
        """Return the thumbnail of a path, or the reason why there is none."""
        if path is None:
            return Thumbnail(reason="no path")
        if path not in self._made:
            if len(self._made) >= MOST_THUMBNAILS:
                return Thumbnail(reason="not shown")
            self._made[path] = thumbnail(self._folder / path)
        return self._made[path]
