"""`lossreg validate`: a check of the loss config in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lossreg.errors import InvalidConfigError


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("validate")(validate)


def validate(
    file: Annotated[Path, typer.Argument(help="A YAML, TOML or JSON file.")],
    at: Annotated[
        str, typer.Option("--at", metavar="PLACE", help="The place of the loss in the file: training.loss.")
    ] = "",
) -> None:
    """Check a loss config, and print it with every default."""
    from lossreg.config.files import read_config
    from lossreg.config.validation import complete
    from lossreg.messages import invalid

    found = read_config(file, at)
    try:
        config = complete(found)
    except InvalidConfigError as error:
        # Report the place in the file, not only the one in the loss.
        raise invalid([p._replace(path=".".join(filter(None, [at, p.path]))) for p in error.problems]) from error
    print(json.dumps(config, indent=1))
    typer.echo(f"{file}: valid", err=True)
