"""`lossreg docs`: the documentation of a loss, or the site's first page, in a browser."""

from __future__ import annotations

import os
import webbrowser
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from lossreg.discovery.first_party import LIBRARIES, OWNERS
from lossreg.errors import LossregError
from lossreg.messages import printable
from lossreg.registries import losses
from lossreg.registry.entry import Entry

FOLDER = "LOSSREG_DOCS"
BUILT = "docs/_build/html"  # of a checkout, by `make docs`
PACKAGE = "lossreg_docs"  # of the extra `docs`: the pages


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("docs")(docs)


def docs(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A name, an alias or provider/name; the first page without.")
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the address, and open no browser.")] = False,
) -> None:
    """Open the page of a loss in a browser, and print its address.

    The page lies on this machine after `pip install 'lossreg[docs]'`, or where LOSSREG_DOCS names the folder of a built
    site; else the published one is opened.
    """
    address = address_of(name)
    print(printable(address))
    if not only_print:
        webbrowser.open(address)


def address_of(name: str | None) -> str:
    """Return the address of the page of a loss, or of the first page: in a built site of this machine, or published."""
    page = "index.html"
    if name is not None:
        entry = losses.entry(name)
        page = page_of(entry)
        if not page:
            return published(entry.distribution or "", f"{entry.full_name} has no page: its package names no address")
    return address_within(page)


def address_within(page: str) -> str:
    """Return the address of a page of the site, which may name a section: built on this machine, or published."""
    folder = site_folder()
    file, sign, place = page.partition("#")
    return f"{(folder / file).as_uri()}{sign}{place}" if folder else published("lossreg") + page


def page_of(entry: Entry) -> str:
    """Return the page of an entry within the site; empty for losses of other packages."""
    if entry.provider in OWNERS:
        return f"losses/{entry.name}.html"
    if entry.provider in LIBRARIES:
        place = f"{entry.provider}-{entry.name}".replace("_", "-").lower()
        return f"losses/of_{entry.provider}.html#{place}"
    return ""


def site_folder() -> Path | None:
    """Return the folder of a built site on this machine, or None."""
    given = os.environ.get(FOLDER)
    package = find_spec(PACKAGE)
    installed = (package and package.submodule_search_locations) or ()
    for folder in map(Path, [given] if given else [Path(__file__).parents[2] / BUILT, *installed]):
        if (folder / "index.html").is_file():
            return folder.resolve()
    if given:
        raise LossregError(
            f"{FOLDER}={given} has no index.html; name the folder of a built site, such as {BUILT} after `make docs`,"
            " or unset it, and published pages are opened"
        )
    return None


def published(distribution: str, problem: str = "no address of the documentation is known") -> str:
    """Return the address of a distribution's documentation, from its metadata."""
    urls: list[str] = []
    with suppress(metadata.PackageNotFoundError, ValueError):  # the latter of an empty name
        urls = metadata.metadata(distribution).get_all("Project-URL") or []
    for label, _, address in (each.partition(",") for each in urls):
        if label.strip().lower() in ("documentation", "docs"):
            return address.strip()
    raise LossregError(f"{problem}; see `lossreg show`, or the Documentation of [project.urls] in its pyproject.toml")
