"""Implementation of the hook `lossreg_cli`, by which packages add commands: it adds lossreg's own seldom-used ones."""

from __future__ import annotations

import typer

from lossreg.cli import check_targets, doctor, new_plugin, plot, records, stubs, why
from lossreg.hooks.builtin import hookimpl


@hookimpl(tryfirst=True)
def lossreg_cli(app: typer.Typer) -> None:
    """Add `why`, `doctor`, `plot`, `check-targets`, `records`, `new-plugin` and `stubs`."""
    for command in (why, doctor, plot, check_targets, records, new_plugin, stubs):
        command.add_to(app)
