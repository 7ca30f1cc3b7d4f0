"""`lossreg schema`: the JSON Schema of valid configs, for editors."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("schema")(schema)


def schema(
    names: Annotated[list[str] | None, typer.Argument(help="Losses to include; all by default.")] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="PROVIDER", help="Only losses of this provider; may be repeated."),
    ] = None,
    at: Annotated[
        str, typer.Option("--at", metavar="PLACE", help="The place of the loss in files: training.loss.")
    ] = "",
) -> None:
    """Print the JSON Schema (2020-12) of valid configs, for editors."""
    from lossreg.config.json_schema import json_schema

    print(json.dumps(json_schema(names or None, providers=provider or None, at=at), indent=1))
