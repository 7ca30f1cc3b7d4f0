"""`lossreg new-plugin`: a new distribution, written from templates."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("new-plugin")(new_plugin)


def new_plugin(
    name: Annotated[str, typer.Argument(help="The name of the distribution, e.g. acme-losses.")],
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The directory in which its folder is created.")
    ] = Path(),
) -> None:
    """Write a package with one loss, its manifest, tests and CI, ready to install and change."""
    from lossreg.authoring.new_plugin import create

    folder = create(name, directory)
    print(f"{folder} is ready; next:")
    print(f"  cd {shlex.quote(str(folder))}")
    print('  pip install --editable ".[dev]"')
    print("  pytest")
