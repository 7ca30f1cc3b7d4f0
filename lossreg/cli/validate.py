"""`lossreg validate`: a check of the loss configs in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lossreg.errors import InvalidConfigError, Problem


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("validate")(validate)


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML, TOML or JSON files.")],
    at: Annotated[
        str, typer.Option("--at", metavar="PLACE", help="The place of the loss in each file: training.loss.")
    ] = "",
) -> None:
    """Check loss configs, and print each with every default."""
    from lossreg.config.files import read_config
    from lossreg.config.validation import complete
    from lossreg.messages import invalid

    problems: list[Problem] = []
    for file in files:
        try:
            found = read_config(file, at)
        except InvalidConfigError as error:
            problems += error.problems
            continue
        try:
            config = complete(found)
        except InvalidConfigError as error:
            problems += [each if each.file else _in_file(each, file, at) for each in error.problems]
            continue
        print(json.dumps(config, indent=1))
        typer.echo(f"{file}: valid", err=True)
    if problems:
        raise invalid(problems)


def _in_file(problem: Problem, file: Path, at: str) -> Problem:
    """Place a problem that has no line, such as that of a number in place of a loss."""
    return Problem(".".join(filter(None, [at, problem.path])), problem.message, str(file))
