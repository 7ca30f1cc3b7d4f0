"""`lossreg stubs`: the losses of this environment, as type checkers and editors read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("stubs")(stubs)


def stubs(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where stubs are; pyright reads typings.")] = Path(
        "typings"
    ),
) -> None:
    """Write a type stub of lossreg that knows every installed loss: names complete, and parameters are checked."""
    from lossreg.authoring.stubs import write

    print(f"wrote {write(directory)}")
