"""Links, anchors and resources of built pages: each leads to something, and nothing is fetched from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

RESOURCES = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
FETCHED = re.compile(r"url\(\s*['\"]?(?!data:)((?:https?:)?//[^)'\"]+)")
LINKS_OF_HEAD = {"canonical", "alternate", "index", "search", "next", "prev", "author"}  # which no browser fetches


class Page(HTMLParser):
    """The ids, links and resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.bad_formulas = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect one element."""
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.add(values["id"])
        if "katex-error" in values.get("class", "").split():
            self.bad_formulas += 1
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag in RESOURCES and values.get(RESOURCES[tag]) and not LINKS_OF_HEAD & {*values.get("rel", "").split()}:
            self.resources.append(values[RESOURCES[tag]])


def problems(site: Path, repository: str = "", root: Path | None = None) -> Iterator[str]:
    """Yield a line for each broken link, missing anchor, missing or outside resource, and formula that was not drawn.

    Args:
        site: folder of the built pages.
        repository: address of the repository's files; links to it must lead to files below `root`.
        root: the checkout.
    """
    read = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in read.items():
        name = path.relative_to(site)
        for link in dict.fromkeys(page.links):
            yield from (f"{name}: {link}: {problem}" for problem in _of_link(link, path, read, repository, root))
        for resource in dict.fromkeys(page.resources):
            if urlsplit(resource).netloc:
                yield f"{name}: {resource}: comes from outside"
            elif not resource.startswith("data:") and not _target(resource, path).exists():
                yield f"{name}: {resource}: there is no such file"
        if page.bad_formulas:
            yield f"{name}: {page.bad_formulas} formulas that KaTeX cannot read"
    for path in sorted(site.rglob("*.css")):
        for address in FETCHED.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: {address}: comes from outside"


def _of_link(link: str, path: Path, read: dict[Path, Page], repository: str, root: Path | None) -> Iterator[str]:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        for address in (repository, repository.replace("/blob/", "/tree/")) if repository and root else ():
            if link.startswith(f"{address}/") and root and not (root / parts.path.split("/main/", 1)[-1]).exists():
                yield "there is no such file in the repository"
        return
    target = _target(link, path)
    if not target.exists():
        yield "there is no such page"
    elif parts.fragment and target in read and unquote(parts.fragment) not in read[target].ids | {"top", ""}:
        yield "the page has no such anchor"


def _target(link: str, path: Path) -> Path:
    """Return the file that a relative link leads to."""
    place = unquote(urlsplit(link).path)
    target = (path.parent / place).resolve() if place else path
    return target / "index.html" if target.is_dir() else target
