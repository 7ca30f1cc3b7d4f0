"""`lossreg find`: the losses for a problem in the words of the user, the best first."""

from __future__ import annotations

import shutil
import textwrap
from typing import Annotated

import typer

from lossreg.cli.columns import aligned, cut
from lossreg.cli.list import known_tags
from lossreg.messages import printable
from lossreg.registries import losses
from lossreg.search.hints import of_words
from lossreg.search.problem import Problem
from lossreg.search.search import search

MOST = 10  # losses that are shown
MOST_PROBLEMS = 3


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("find")(find)


def find(
    text: Annotated[list[str], typer.Argument(metavar="WORDS", help="A problem in your words: thin vessels.")],
) -> None:
    """Find losses for a problem in your words: what to do about it, and the losses that fit best.

    The words are searched in names, summaries and tags, and in the problems that a loss is for.
    """
    width = shutil.get_terminal_size().columns
    found = search(" ".join(text), {name: losses.entry(name) for name in losses.list()})
    for problem in found.problems[:MOST_PROBLEMS]:
        print("\n".join(_advice(problem, width)), end="\n\n")
    rows = [(name, losses.entry(name).metadata.get("summary", "")) for name in found.names[:MOST]]
    for line in aligned(rows):
        print(cut(line, width))
    print(f"{len(found.names)} losses" + "; lossreg show NAME describes one" * bool(found.names))
    if len(found.names) > MOST:
        print(f"all of them: lossreg list {' '.join(text)}")
    for hint in of_words(found, known_tags(losses)):
        typer.echo(printable(hint), err=True)


def _advice(problem: Problem, width: int) -> list[str]:
    """Return the problem, and below it the advice in lines of the terminal's width."""
    return [problem.title, *textwrap.wrap(problem.advice, width, initial_indent="    ", subsequent_indent="    ")]
