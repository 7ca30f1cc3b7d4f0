"""The contents of a report, gathered from the records. All data that grow with the rows stay in DuckDB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossreg.records.aggregate import statistics
from lossreg.records.caption_rules import CaptionRules
from lossreg.records.captions import flagged
from lossreg.records.filters import Filters, filtered
from lossreg.records.parts import parts
from lossreg.records.ranking.rank import ranked
from lossreg.records.reader import left_out
from lossreg.records.report import charts
from lossreg.records.report.axes import decimals_for
from lossreg.records.report.examples import examples
from lossreg.records.report.hardest import levels
from lossreg.records.report.pictures import Album
from lossreg.records.report.series import Bins, Steps, bins, steps

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_DATASETS = 50  # in the table; each has its worst examples
MOST_PARTS = 12  # runs and splits with statistics
MOST_NAMES = 200  # of runs and splits to choose from
COLUMNS = 4  # components in the table of datasets, at most


def contents(connection: DuckDBPyConnection, *, top_k: int, album: Album) -> dict[str, Any]:
    """Compute all variables of the templates but the title."""
    facts = _facts(connection)
    runs = _names(connection, "run")
    found = _parts(connection)
    binned = bins(connection)
    components = sorted({name for one in found for name in one["overall"]["components"]})
    over_steps = steps(connection, components)
    decimals = decimals_for(found[0]["overall"]["median"])
    datasets = [part | {"name": name} | row for part in found for name, row in part["datasets"].items()]
    highest = sorted(datasets, key=lambda row: (-_rank(row["mean"]), row["name"]))[:MOST_DATASETS]
    with ranked(connection):
        names = list(dict.fromkeys(row["name"] for row in highest))
        hardest = examples(connection, names, over_steps, decimals, top_k=top_k, album=album)
        by_name = levels(connection)
        flags = flagged(connection, CaptionRules(), top_k)
    for row in highest:
        row |= by_name.get((row["run"], row["split"], row["name"]), {"level": None, "sure": 0})
    return {
        "facts": facts,
        "left_out": sum(rows for run, rows in left_out(connection).items() if run in runs),
        "runs": runs,
        "splits": _names(connection, "split"),
        "decimals": decimals,
        "parts": [_with_bars(part | part["overall"], binned) for part in found[:MOST_PARTS]],
        "part_count": facts["parts"],
        "any_broken": any(part["overall"]["nan"] or part["overall"]["infinite"] for part in found),
        "dataset_count": len(datasets),
        "dataset_names": names,
        "components": components[:COLUMNS],
        "components_left_out": len(components[COLUMNS:]),
        "datasets": [_with_bars(row, binned) for row in highest],
        "scale": charts.scale(binned) if binned else None,
        **_over_steps(over_steps, facts, components, decimals),
        **hardest,
        **_flags(flags),
    }


def _parts(connection: DuckDBPyConnection) -> list[dict[str, Any]]:
    """Compute the statistics of each run and split: of the first ones, if there are many."""
    found = parts(connection)
    results = []
    for part in found[:MOST_PARTS]:
        own = Filters(runs=part.run or "", splits=part.split or "") if len(found) > 1 else None
        with filtered(connection, own):
            rows = statistics(connection)
        results.append({**part._asdict(), "overall": rows.pop(None), "datasets": rows})
    return results


def _facts(connection: DuckDBPyConnection) -> dict[str, Any]:
    """Count the runs, steps and epochs."""
    found = connection.execute(
        "SELECT count(DISTINCT run) AS runs, count(DISTINCT step) AS steps, min(step) AS first_step,"
        " max(step) AS last_step, count(DISTINCT epoch) AS epochs, min(epoch) AS first_epoch,"
        " max(epoch) AS last_epoch, count(DISTINCT (nullif(run, ''), nullif(split, ''))) AS parts FROM records"
    )
    names = [column[0] for column in found.description or ()]
    (row,) = found.fetchall()
    return dict(zip(names, row, strict=True))


def _names(connection: DuckDBPyConnection, column: str) -> list[str]:
    query = f"SELECT DISTINCT coalesce({column}, '') FROM records ORDER BY 1 LIMIT {MOST_NAMES}"
    return [name for (name,) in connection.execute(query).fetchall()]


def _rank(mean: float | None) -> float:
    return -math.inf if mean is None else mean


def _with_bars(row: Mapping[str, Any], binned: Bins | None) -> dict[str, Any]:
    """Add the deviation and the histogram of a data set, or of a run and split without a `name`."""
    counts = binned.of(row["run"], row["split"], row.get("name")) if binned else None
    drawn = charts.histogram(binned, counts, row["median"]) if binned and counts else None
    deviation = None if row["variance"] is None else math.sqrt(row["variance"])
    return {**row, "deviation": deviation, "bars": drawn}


def _over_steps(
    found: Steps | None, facts: Mapping[str, Any], components: Sequence[str], decimals: int
) -> dict[str, Any]:
    chart = charts.loss_chart(found, decimals) if found else None
    return {
        "steps": found,
        "chart": chart,
        "no_chart": "" if chart else _why_no_chart(facts),
        "component_charts": charts.part_charts(found, decimals) if found else [],
        "component_charts_left_out": len(components) - len(found.components) if found else 0,
    }


def _why_no_chart(facts: Mapping[str, Any]) -> str:
    for unit in ("step", "epoch"):
        first, last = facts[f"first_{unit}"], facts[f"last_{unit}"]
        if first is not None:
            return f"All rows are of {unit} {first:,}." if first == last else "No loss is finite."
    return "The records have neither steps nor epochs."


def _flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    rules = [
        {
            "name": rule.replace("_", " ").capitalize(),
            "count": found["count"],
            "share": f"{found['count'] / flags['checked']:.2%}",
            "examples": [
                {**each, "name": each["sample_id"] or each["path"] or "without a name"} for each in found["examples"]
            ],
        }
        for rule, found in flags["rules"].items()
        if found["count"]
    ]
    unflagged = [rule.replace("_", " ") for rule, found in flags["rules"].items() if not found["count"]]
    return {"flags": flags, "rules": rules, "unflagged": unflagged}
