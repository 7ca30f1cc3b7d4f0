"""The reference of the command line: a section for each command, written before a build, from its `--help`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generated import write

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEAD = """# Command line

`lossreg COMMAND --help` prints the same in a terminal. A command exits with 0, with 1 for an error that it names, and
with 2 where it was called wrongly.
"""


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the commands of a group, in the order of its help, each with its words: `lossreg records summary`."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")


def section(path: str, command: Any) -> str:
    """Return the section of a command."""
    context = command.make_context(path, [], resilient_parsing=True)
    records = [(part, part.get_help_record(context)) for part in command.params]
    rows = [(part.param_type_name, *record) for part, record in records if record]
    blocks = [f"{'#' * path.count(' ')}# `{path}`", prose(command.help or "")]
    if not hasattr(command, "commands"):
        blocks.append(f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```")
    return "\n\n".join([*blocks, *(f"`{names}`\n: {prose(text) or 'see above'}" for _, names, text in rows)])


def prose(text: str) -> str:
    """Return help as Markdown: a line that is not wrapped, and no mark that Markdown would read."""
    paragraphs = (" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))
    return "\n\n".join(re.sub(r"([\\*_<>\[\]$|])", r"\\\1", part) for part in paragraphs if part)


def page() -> str:
    """Return the page, of every command that lossreg has."""
    import typer

    from lossreg.cli import add_hook_commands, app

    add_hook_commands(app)
    group = typer.main.get_command(app)
    return "\n\n".join([HEAD.strip(), *(section(path, command) for path, command in commands(group, "lossreg"))]) + "\n"


def generate(app: Sphinx) -> None:
    """Write the page."""
    write(Path(app.srcdir) / "reference" / "cli.md", page())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
