"""The commands that come by the hook of the command line, as those of other packages do."""

from __future__ import annotations

import typer

from lossreg.cli import check_targets as targets
from lossreg.cli import doctor as diagnosis
from lossreg.cli import new_plugin, records
from lossreg.cli import plot as plotting
from lossreg.cli import stubs as stubbing
from lossreg.cli import why as explanation
from lossreg.hooks.builtin import hookimpl


@hookimpl(tryfirst=True)
def lossreg_cli(app: typer.Typer) -> None:
    """`why`, `doctor`, `plot`, `check-targets`, `records`, `new-plugin` and `stubs`."""
    for group in (explanation, diagnosis, plotting, targets, records, new_plugin, stubbing):
        group.add_to(app)
