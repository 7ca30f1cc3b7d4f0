"""`lossreg records export`: every row as CSV, every example as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossreg.cli.records.options import Directory, Formulas, MemoryLimit, Together, TopK, with_filters
from lossreg.errors import LossregError

if TYPE_CHECKING:
    from lossreg.records.filters import Filters


def add_to(group: typer.Typer) -> None:
    """Register the command of this file."""
    group.command("export")(with_filters(export))


def export(
    directory: Directory,
    filters: Filters,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the rows: path, dataset, caption, loss; all other columns."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the summary and every example.")
    ] = None,
    top_k: TopK = 10,
    together: Together = False,
    formulas: Formulas = False,
    memory_limit: MemoryLimit = "1GB",
) -> None:
    """Write every row to a CSV file, every example to a JSON file, or both.

    In CSV, text that begins with =, +, -, @, a tab or a line break gets a ' before it, so that no spreadsheet computes
    it. --top-k and --together are of the JSON file, --formulas is of the CSV file.
    """
    if csv is None and json is None:
        raise LossregError("nothing to write: add --csv FILE, --json FILE or both")
    from lossreg.records.export import export_csv, export_json
    from lossreg.records.reader import connect

    with connect(directory, memory_limit=memory_limit) as connection:
        if csv is not None:
            export_csv(connection, csv, filters=filters, formulas=formulas)
            print(csv)
        if json is not None:
            export_json(connection, json, top_k=top_k, filters=filters, together=together)
            print(json)
