"""`lossreg records summary`: statistics of each data set and the examples to look at first, of each run and split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from lossreg.cli.columns import aligned
from lossreg.cli.records import shown
from lossreg.cli.records.options import AsJson, Directory, MemoryLimit, Together, TopK, with_filters
from lossreg.cli.records.ranking import print_examples, print_head

if TYPE_CHECKING:
    from lossreg.records.filters import Filters
    from lossreg.records.ranking import Ranking

STATISTICS = ("count", "items", "nan", "infinite", "mean", "median", "minimum", "maximum")
HEADINGS = ("dataset", "rows", "items", "NaN", "infinite", "mean", "median", "minimum", "maximum")


def add_to(group: typer.Typer) -> None:
    """Register the command of this file."""
    group.command("summary")(with_filters(summary))


def summary(
    directory: Directory,
    filters: Filters,
    top_k: TopK = 10,
    together: Together = False,
    as_json: AsJson = False,
    memory_limit: MemoryLimit = "1GB",
) -> None:
    """Print statistics of each dataset, and the examples that lose more and less than their contemporaries.

    Each run and split is a block of its own.
    """
    from lossreg.records.aggregate import aggregate
    from lossreg.records.filters import filtered
    from lossreg.records.parts import Part, by_part
    from lossreg.records.reader import connect, left_out

    with connect(directory, memory_limit=memory_limit) as connection, filtered(connection, filters):

        def compute(part: Part) -> tuple[dict[str, Any], Ranking]:
            return aggregate(connection, part, top_k, together=together)

        results, repeated = by_part(connection, compute, together=together), left_out(connection)
    if as_json:
        each = [{**statistics, "ranking": asdict(ranking)} for statistics, ranking in results]
        found = each[0] if len(each) == 1 else {"runs": each}
        print(json.dumps({**found, "left_out": repeated}, indent=1, allow_nan=False))
        return
    for statistics, ranking in results:
        if len(results) > 1:
            shown.lines([shown.part(statistics["run"], statistics["split"]), ""])
        _print(statistics, ranking)
        if len(results) > 1:
            print()
    for text in shown.left_out(repeated):
        shown.paragraph(text)
    if len(results) > 1:
        ways = "choose by --run and --split, or sum them by --together"
        shown.paragraph(f"{len(results)} runs and splits, each by itself; {ways}")


def _print(found: Mapping[str, Any], ranking: Ranking) -> None:
    rows = [*found["datasets"].items(), ("all", found["overall"])]
    cells = [(shown.short(name), *(shown.number(row[key]) for key in STATISTICS)) for name, row in rows]
    print("\n".join(aligned([HEADINGS, *cells], numbers=range(1, len(HEADINGS)))))  # a number is never cut
    print()
    print_head(ranking)
    if ranking.examples:
        print("\nlose more than their contemporaries")
        print_examples(ranking.examples, several=False)
    if found["overall"]["lowest"]:
        print("\nlose less than their contemporaries")
        shown.examples(found["overall"]["lowest"], "mean")
