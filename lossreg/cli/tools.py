"""The commands that come by the hook of the command line, as those of other packages do."""

from __future__ import annotations

import typer

from lossreg.builtin import hookimpl
from lossreg.cli import diagnosis, explanation, new_plugin, plotting, records, stubbing, targets


@hookimpl(tryfirst=True)
def lossreg_cli(app: typer.Typer) -> None:
    """`why`, `doctor`, `plot`, `check-targets`, `records`, `new-plugin` and `stubs`."""
    for group in (explanation, diagnosis, plotting, targets, records, new_plugin, stubbing):
        group.add_to(app)
