"""Command line `lossreg`: one file for each command, named like it. Only this package imports Typer."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from lossreg.cli import find, manifest, schema, show, validate
from lossreg.cli import list as listing
from lossreg.errors import LossregError
from lossreg.messages import printable

INVALID = 1
WITHOUT_HOOKS = {"list", "find", "show", "validate", "schema", "manifest", "--version"}

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


for command in (listing, find, show, validate, schema, manifest):
    command.add_to(app)


def main() -> None:
    """Run a command. Exit codes: 0, 1 for an error, 2 for wrong usage."""
    # torch warns on import where numpy is not installed, and no command needs both.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    warnings.showwarning = _show_warning
    try:
        if not WITHOUT_HOOKS & {*sys.argv[1:2]}:
            add_hook_commands(app)
        app()
    except LossregError as error:
        print("\n".join(map(printable, f"lossreg: {error}".splitlines())), file=sys.stderr)
        sys.exit(INVALID)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as an error is printed. A user of the command line needs no place in the code."""
    print(printable(f"lossreg: warning: {message}"), file=sys.stderr)


def add_hook_commands(app: typer.Typer) -> None:
    """Add the commands that come by hooks. The commands above start faster without their imports."""
    from lossreg.cli import hook
    from lossreg.registries import hooks

    found = hooks()
    if not found.manager.is_registered(hook):
        found.manager.register(hook, "lossreg.cli")
        found.call("lossreg_cli", app=app)
