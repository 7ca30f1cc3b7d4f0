"""`lossreg validate` and `lossreg schema`: is a config right, and what would be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lossreg.errors import InvalidConfigError


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command("validate")(validate_file)
    app.command("schema")(schema)


def validate_file(
    file: Annotated[Path, typer.Argument(help="A YAML, TOML or JSON file.")],
    at: Annotated[str, typer.Option("--at", metavar="PLACE", help="Where the loss is, e.g. training.loss.")] = "",
) -> None:
    """Check a loss config, and print it with every default written out."""
    from lossreg.config.files import read_config
    from lossreg.config.validation import complete
    from lossreg.messages import invalid

    found = read_config(file, at)
    try:
        config = complete(found)
    except InvalidConfigError as error:
        # The place in the file, not only in the loss.
        raise invalid([p._replace(path=".".join(filter(None, [at, p.path]))) for p in error.problems]) from error
    print(json.dumps(config, indent=1))
    typer.echo(f"{file}: valid", err=True)


def schema(
    names: Annotated[list[str] | None, typer.Argument(help="Losses to include; all by default.")] = None,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", metavar="PROVIDER", help="Only its losses; may be repeated.")
    ] = None,
    at: Annotated[str, typer.Option("--at", metavar="PLACE", help="Where files hold the loss: training.loss.")] = "",
) -> None:
    """Print the JSON Schema (2020-12) of valid configs, for editors."""
    from lossreg.config.json_schema import json_schema

    print(json.dumps(json_schema(names or None, providers=provider or None, at=at), indent=1))
