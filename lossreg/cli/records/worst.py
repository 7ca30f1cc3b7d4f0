"""`lossreg records worst`: the examples to look at first, to fix, drop or reweigh, as a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossreg.cli.records.options import AsJson, Directory, Formulas, MemoryLimit, Together, with_filters
from lossreg.cli.records.ranking import SURE, print_examples, print_head
from lossreg.errors import LossregError

if TYPE_CHECKING:
    from lossreg.records.filters import Filters
    from lossreg.records.ranking import RankedExample, Ranking

LIMIT, MOST = 20, 100_000  # examples
COLUMNS = ("sample_id", "path", "dataset", "run", "split", "score", "error", "looks", "mean", "verdict", "control")


def add_to(group: typer.Typer) -> None:
    """Register the command of this file."""
    group.command("worst")(with_filters(worst))


def worst(
    directory: Directory,
    filters: Filters,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, max=MOST, show_default=False, help="Number of examples; 20, or all with --surely."
        ),
    ] = None,
    surely: Annotated[bool, typer.Option("--surely", help="Only those that are surely among the hardest 5 %.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV, one example a line.")] = False,
    as_json: AsJson = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", show_default=False, help="Write CSV or JSON to a file."),
    ] = None,
    together: Together = False,
    formulas: Formulas = False,
    memory_limit: MemoryLimit = "1GB",
) -> None:
    """List the examples that lose more than their contemporaries: those to look at first.

    A score is how far an example stands above what others lost at that time, in their spread. Reliability is
    the share of the differences that is not chance; some examples are surely among the hardest 5 %.
    """
    from lossreg.records.ranking import rank_examples

    if as_csv and as_json:
        raise LossregError("the examples are written either as CSV or as JSON: leave out --csv or --json")
    if out is not None and not as_csv and not as_json:
        raise LossregError("--out writes CSV or JSON: add --csv or --json")
    most = limit or (MOST if surely else LIMIT)
    found = rank_examples(
        directory,
        filters=filters,
        top_k=MOST if surely else most,
        together=together,
        memory_limit=memory_limit,
    )
    chosen = [one for one in found.examples if not surely or one.verdict == SURE]
    examples, total = chosen[:most], found.sure if surely else found.total
    if as_csv or as_json:
        _write(_csv(examples, formulas) if as_csv else _json(found, examples), out)
        return
    print_head(found)
    print()
    print_examples(examples, several=len(found.groups) > 1)
    if total > len(examples):
        which = f"{total} lists them" if total <= MOST else f"{MOST} lists the first of them"
        print(f"\nand {total - len(examples):,} more; --limit {which}")


def _csv(examples: list[RankedExample], formulas: bool) -> str:
    from lossreg.records.export import harmless

    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in examples:
        cells = (getattr(one, name) for name in COLUMNS)
        writer.writerow([harmless(cell) if isinstance(cell, str) and not formulas else cell for cell in cells])
    return file.getvalue()


def _json(found: Ranking, examples: list[RankedExample]) -> str:
    content = {**asdict(found), "examples": [asdict(one) for one in examples]}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _write(text: str, out: Path | None) -> None:
    from lossreg.records.export import write_out

    if out is None:
        print(text, end="")
    else:
        write_out(text, out)
        print(out)
