"""Links to the published site in files that are read elsewhere: the READMEs and the metadata of packages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from .html_links import Page

ROOT = Path(__file__).parents[2]
_URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
PUBLISHED: str = _URLS["Documentation"]
REPOSITORY: str = f"{_URLS['Source']}/blob/main"
PATTERNS = ("*.md", "plugins/*/README.md", "examples/**/*.md", "lossreg/**/*.py", "plugins/*/lossreg_*/**/*.py")


def published(site: Path, root: Path = ROOT, address: str = PUBLISHED) -> Iterator[str]:
    """Yield a line for each link to the published site that leads to no page or anchor of the built one."""
    link = re.compile(re.escape(address) + r"([\w./-]*)(?:#([\w.-]+))?")
    for path in sorted({path for pattern in PATTERNS for path in root.glob(pattern)}):
        for match in link.finditer(path.read_text(encoding="utf-8")):
            name = match[1].rstrip(".")
            page = site / (name + "index.html" if name.endswith("/") or not name else name)
            if not page.is_file():
                yield f"{path.relative_to(root)}: {match[0]}: there is no such page"
            elif match[2] and match[2] not in Page(page.read_text(encoding="utf-8")).ids:
                yield f"{path.relative_to(root)}: {match[0]}: the page has no such anchor"
