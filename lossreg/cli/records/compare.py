"""`lossreg records compare`: the same examples in two runs, splits, or stretches of epochs or steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossreg.cli.records import shown
from lossreg.cli.records.options import AsJson, Directory, MemoryLimit, TopK, with_filters

if TYPE_CHECKING:
    from lossreg.records.filters import Filters


def add_to(group: typer.Typer) -> None:
    """Register the command of this file."""
    group.command("compare")(with_filters(compare))


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run; with --by a split or range.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="RUN", help="The other one.", show_default=False)],
    directory: Directory,
    filters: Filters,
    by: Annotated[
        str, typer.Option("--by", metavar="WHAT", help="What is compared: run, split, epochs or steps.")
    ] = "run",
    top_k: TopK = 20,
    as_json: AsJson = False,
    memory_limit: MemoryLimit = "1GB",
) -> None:
    """Compare the losses of the same examples in two runs: which of them changed most.

    Each run is ranked by itself. The change of an example is that of its score: how far it stands above what others of
    its run lost at that time. Epochs and steps are compared by ranges: compare :2 8: DIR --by epochs.
    """
    from lossreg.records.compare import compare_runs
    from lossreg.records.reader import connect

    with connect(directory, memory_limit=memory_limit) as connection:
        found = compare_runs(connection, first, second, by=by, filters=filters, top_k=top_k)
    if as_json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return
    names = shown.short(first), shown.short(second)
    for text in _head(found, *names):
        shown.paragraph(text)
    print()
    shown.table([("change", "error", *names, "example"), *map(_row, found["examples"])], numbers=range(4))


def _head(found: Mapping[str, Any], first: str, second: str) -> list[str]:
    only = [f"{found[key]:,} in {name} alone" for key, name in (("only_first", first), ("only_second", second))]
    before, after, change = (shown.number(found[f"middle_{key}"]) for key in ("first", "second", "change"))
    return [
        f"{found['both']:,} examples are in both, {', '.join(only)}",
        f"middle of their mean losses: {before} in {first}, {after} in {second}, a change of {change}",
        "examples whose scores changed most, beyond that:",
    ]


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    error = "-" if one["error"] is None else f"{one['error']:.2f}"
    scores = (f"{one[key]:.2f}" for key in ("score_first", "score_second"))
    return (f"{one['change']:+.2f}", error, *scores, shown.name(one, one["run"], one["split"]))
