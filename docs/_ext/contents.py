"""The tree of pages in the sidebar. It is added to `index` pages, so that no page holds a list for Sphinx."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


# Captions of the sidebar. An entry is a page, or a folder: its index if it has one, else each of its pages.
SIDEBAR = {
    "Start": ("start/install", "start/first_training", "start/sam_thin_structures", "start/publish", "start"),
    "Losses": ("losses/choose", "losses/compare", "losses", "losses/index", "providers"),
    "Replace a loss": ("coming_from", "trainers"),
    "Guides": ("howto", "explanation", "benchmarks"),
    "Reference": (
        "reference/config",
        "reference/cli",
        "reference/python",
        "reference/python_segmentation",
        "reference/python_sam",
        "reference/python_records",
        "reference/python_health",
        "reference",
        "glossary",
        "faq",
    ),
    "Project": ("changelog", "architecture", "testing"),
}
INDEXES = ("index", "README")


def sidebar(names: set[str]) -> dict[str, list[str]]:
    """Return the pages below each caption; those that no caption names stand below "More"."""
    left = names - {"index"}
    found = {}
    for caption, places in SIDEBAR.items():
        found[caption] = [name for place in places for name in pages_of(place, left)]
    found["More"] = sorted(left)
    return {caption: pages for caption, pages in found.items() if pages}


def pages_of(place: str, left: set[str]) -> list[str]:
    """Return the pages that an entry stands for, and take them from `left`; with an index, those of its folder."""
    if place in left:
        folder, _, last = place.rpartition("/")
        left -= {place, *(name for name in left if last in INDEXES and name.startswith(f"{folder}/"))}
        return [place]
    inside = {name for name in left if name.startswith(f"{place}/")}
    index = [f"{place}/{name}" for name in INDEXES if f"{place}/{name}" in inside]
    left -= inside
    return index or sorted(inside)


def of_folder(name: str, text: str, names: set[str]) -> list[str]:
    """Return the pages of an index's folder that the sidebar does not name, in the order of the index's links."""
    folder = PurePosixPath(name).parent
    named = {place for places in SIDEBAR.values() for place in places}
    others = [each for each in names - named if PurePosixPath(each).parent == folder and each != name]

    def place(each: str) -> tuple[int, str]:
        found = text.find(f"({PurePosixPath(each).name}.md")
        return (found if found >= 0 else len(text), each)

    return sorted(others, key=place)


def toctree(pages: Iterable[str], caption: str = "") -> str:
    """Return the directive of a list of pages."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, "", *(f"/{page}" for page in pages), "```", ""])


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Append the tree to the source of an index."""
    names = app.env.found_docs
    if name == "index":
        source[0] += "\n".join(toctree(pages, caption) for caption, pages in sidebar(set(names)).items())
    elif PurePosixPath(name).name in INDEXES and of_folder(name, source[0], names):
        source[0] += toctree(of_folder(name, source[0], names))
    else:
        return
    app.env.note_reread()  # a page may come or go


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
