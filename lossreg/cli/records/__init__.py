"""`lossreg records`: the records of a run. One file for each command, named like it."""

from __future__ import annotations

import typer

from lossreg.cli.records import compare, export, flag, report, summary, worst


def add_to(app: typer.Typer) -> None:
    """Register the commands of this folder."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Per-example records of runs.")
    for command in (summary, worst, compare, flag, export, report):
        command.add_to(group)
    app.add_typer(group, name="records")
