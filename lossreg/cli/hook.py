"""Implementation of the hook `lossreg_cli`, by which packages add commands: it adds lossreg's own seldom-used ones."""

from __future__ import annotations

import typer

from lossreg.cli import check_targets, docs, doctor, new_plugin, plot, records, stubs, warm_up, why
from lossreg.hooks.builtin import hookimpl


@hookimpl(tryfirst=True)
def lossreg_cli(app: typer.Typer) -> None:
    """Add `why`, `docs`, `doctor`, `plot`, `check-targets`, `records`, `new-plugin`, `stubs` and `warm-up`."""
    for command in (why, docs, doctor, plot, check_targets, records, new_plugin, stubs, warm_up):
        command.add_to(app)
