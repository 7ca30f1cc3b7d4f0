"""The page of a library: each of its losses with its parameters, and what to know about them."""

from __future__ import annotations

import re
from pathlib import Path

from gallery.entries import TITLES, link, of_library
from gallery.markdown import chips, parameters, prose
from lossreg.registry.entry import Entry

PLUGINS = Path(__file__).parents[3] / "plugins"


def page(library: str) -> str:
    """Return the page of a library as Markdown."""
    entries = of_library(library)
    needs = entries[0].requires
    installed = (
        f'pip install lossreg-{library} "{needs.distribution}{needs.versions}"'
        if needs
        else f"pip install lossreg-{library}"
    )
    blocks = [
        f"# Losses of {TITLES[library]}",
        f"{len(entries)} losses by name. You get the library's own classes, unchanged"
        " ([how](../howto/other_libraries.md)).",
        f"```sh\n{installed}\n```",
        *_notes(library),
        *(_section(entry) for entry in entries),
    ]
    return "\n\n".join(blocks) + "\n"


def _notes(library: str) -> list[str]:
    """Return the section "What to know" of the package's README."""
    text = (PLUGINS / f"lossreg-{library}" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## What to know\n\n(.*?)(?=\n## |\Z)", text, re.MULTILINE | re.DOTALL)
    return ["## What to know", found[1].strip()] if found else []


def _section(entry: Entry) -> str:
    about = entry.metadata
    names = " or ".join(f"`{entry.provider}/{name}`" for name in entry.spellings())
    head = f"({link(entry).partition('#')[2]})=\n## {entry.name}"
    return "\n\n".join([head, prose(about["summary"]), names, parameters(about["parameters"]), chips(entry)])
