"""`lossreg records flag`: the captions that each rule flags."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from lossreg.cli.records import shown
from lossreg.cli.records.options import AsJson, Directory, MemoryLimit, TopK, with_filters

if TYPE_CHECKING:
    from lossreg.records.filters import Filters


def add_to(group: typer.Typer) -> None:
    """Register the command of this file."""
    group.command("flag")(with_filters(flag))


def flag(
    directory: Directory,
    filters: Filters,
    top_k: TopK = 20,
    as_json: AsJson = False,
    memory_limit: MemoryLimit = "1GB",
) -> None:
    """Print the captions that each rule flags; those whose examples lose most come first."""
    from lossreg.records.captions import flag_bad_captions
    from lossreg.records.reader import connect

    with connect(directory, memory_limit=memory_limit) as connection:
        found = flag_bad_captions(connection, top_k=top_k, filters=filters)
    if as_json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return
    print(f"{found['checked']:,} captions judged")
    for rule, flagged in found["rules"].items():
        print(f"\n{rule}  {flagged['count']:,}")
        shown.examples(flagged["examples"], "loss")
