"""`lossreg list`: the names of all losses, found without importing them where a manifest describes them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from lossreg.cli.columns import aligned, cut
from lossreg.messages import printable
from lossreg.parameters import docstring
from lossreg.registries import losses, parts
from lossreg.registry.entry import Entry
from lossreg.registry.registry import Registry
from lossreg.search.hints import of_tags, of_words
from lossreg.search.problems import PROBLEMS
from lossreg.search.search import search

HEADINGS = ("name", "provider", "summary", "tags")


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("list")(list_losses)


def list_losses(
    tag: Annotated[
        str | None,
        typer.Option("--tag", metavar="EXPR", help="Only these tags, e.g. 'binary & (overlap | sam) & !mixture'."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    of_parts: Annotated[
        bool, typer.Option("--parts", help="List parts of losses instead: distances, reducers, miners.")
    ] = False,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]", help="Only those with these words, e.g. cracks.")
    ] = None,
) -> None:
    """List losses by name, with tags and a summary.

    TEXT is searched in names, summaries and tags, and in the problems that a loss is for. `lossreg find` does the same,
    puts the best first and prints advice.
    """
    registry = parts if of_parts else losses
    names, hints = _chosen(registry, tag, " ".join(text or ()))
    rows = [_row(name, registry.entry(name)) for name in names]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    _print_rows(rows, registry.name)
    missing = [entry for entry in map(registry.entry, names) if entry.state == "missing"]
    for reason in dict.fromkeys(f"{entry.provider}: {entry.reason}" for entry in missing):
        typer.echo(printable(reason), err=True)
    for source, _, error in registry.failures:
        typer.echo(printable(f"not read: {source}: {error}"), err=True)
    for hint in hints:
        typer.echo(printable(hint), err=True)


def _chosen(registry: Registry[Any], tag: str | None, text: str) -> tuple[list[str], Iterable[str]]:
    """Return the names with these tags and words, and what to say if there are none."""
    names = registry.list() if tag is None else registry.find(tag)
    if tag is not None and not names:
        return names, of_tags(tag, known_tags(registry))
    if not text:
        return names, ()
    entries = {name: registry.entry(name) for name in names}
    found = search(text, entries, () if registry is parts else PROBLEMS)
    return [name for name in names if name in found.names], of_words(found, known_tags(registry))


def known_tags(registry: Registry[Any]) -> set[str]:
    """Return the tags that entries have."""
    return {tag for entry in registry.entries() for tag in entry.tags or ()}


def _row(name: str, entry: Entry) -> dict[str, Any]:
    summary = entry.metadata.get("summary")
    if summary is None and entry.cls is not None:
        summary = docstring.sections(entry.cls.__doc__).get("summary")
    return {
        "name": name,
        "provider": entry.provider,
        "version": entry.version,
        "state": entry.state,
        "tags": sorted(entry.tags) if entry.tags is not None else None,
        "summary": summary or "",
    }


def _print_rows(rows: list[dict[str, Any]], kind: str) -> None:
    """Print aligned columns, cut to the width of the terminal, and the number of rows."""
    cells: list[tuple[str, ...]] = [HEADINGS]
    for row in rows:
        state = "" if row["state"] in ("discovered", "loaded") else f"[{row['state']}] "
        tags = "(not loaded)" if row["tags"] is None else " ".join(row["tags"])
        cells.append((row["name"], row["provider"], state + row["summary"], tags))
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None  # a pipe has no width
    for line in aligned(cells):
        print(line if limit is None else cut(line, limit))
    print(f"{len(rows)} {kind}")
