"""`lossreg stubs`: a type stub of the installed losses, for type checkers and editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("stubs")(stubs)


def stubs(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The folder of stubs; pyright reads typings.")
    ] = Path("typings"),
) -> None:
    """Write a type stub of lossreg with every installed loss, so that editors complete names and check parameters."""
    from lossreg.authoring.stubs import write

    print(f"wrote {write(directory)}")
