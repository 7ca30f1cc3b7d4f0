"""The command line: one file per command group. Typer and Rich are imported here and nowhere else."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lossreg.cli import listing, manifests, validation
from lossreg.errors import LossregError

INVALID = 1

app = typer.Typer(
    name="lossreg",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Losses for PyTorch: list and search them, check configs, describe packages."""
    if version:
        from lossreg import __version__

        print(__version__)
        raise typer.Exit


listing.add_to(app)
validation.add_to(app)
manifests.add_to(app)


def main() -> None:
    """Run a command. Exit codes: 0, 1 for what is invalid, 2 for wrong usage."""
    try:
        app()
    except LossregError as error:
        print(f"lossreg: {error}", file=sys.stderr)
        sys.exit(INVALID)
