"""The command line: one file per command group. Typer and Rich are imported here and nowhere else."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lossreg.cli import listing, validation
from lossreg.cli import manifest as manifests
from lossreg.errors import LossregError
from lossreg.messages import printable

INVALID = 1
OWN = {"list", "show", "validate", "schema", "manifest", "--version"}

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


for group in (listing, validation, manifests):
    group.add_to(app)


def main() -> None:
    """Run a command. Exit codes: 0, 1 for what is invalid, 2 for wrong usage."""
    try:
        if not OWN & {*sys.argv[1:2]}:
            add_tools(app)
        app()
    except LossregError as error:
        print("\n".join(map(printable, f"lossreg: {error}".splitlines())), file=sys.stderr)
        sys.exit(INVALID)


def add_tools(app: typer.Typer) -> None:
    """What is seldom called, and what hooks add: listing and validating do not wait for their imports."""
    from lossreg.cli import tools
    from lossreg.registries import hooks

    found = hooks()
    if not found.manager.is_registered(tools):
        found.manager.register(tools, "lossreg.cli")
        found.call("lossreg_cli", app=app)
