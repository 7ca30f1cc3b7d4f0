"""`lossreg records summary`: statistics of each data set, and the examples at both ends, of each run and split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from lossreg.cli.records import shown
from lossreg.cli.records.options import AsJson, Directory, MemoryLimit, Together, TopK, with_filters

if TYPE_CHECKING:
    from lossreg.records.filters import Filters

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
    """Print statistics of each dataset, and the examples with the highest and the lowest loss.

    Each run and split is a block of its own.
    """
    from lossreg.records.aggregate import summarise
    from lossreg.records.filters import filtered
    from lossreg.records.reader import connect

    with connect(directory, memory_limit=memory_limit) as connection, filtered(connection, filters):
        found = summarise(connection, top_k, together=together)
    if as_json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return
    several = found.get("runs", [])
    for one in several or [found]:
        if several:
            print(f"{shown.part(one['run'], one['split'])}\n")
        _print(one)
        if several:
            print()
    if several:
        print(
            f"{len(several)} runs and splits, each by itself. Choose by --run and --split, or sum them by --together."
        )


def _print(found: Mapping[str, Any]) -> None:
    rows = [*found["datasets"].items(), ("all", found["overall"])]
    cells = [(shown.short(name), *(shown.number(row[key]) for key in STATISTICS)) for name, row in rows]
    shown.table([HEADINGS, *cells], numbers=range(1, len(HEADINGS)))
    for heading, key in (("highest mean loss", "highest"), ("lowest mean loss", "lowest")):
        print(f"\n{heading}")
        shown.examples(found["overall"][key], "mean")
