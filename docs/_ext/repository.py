"""Links of pages to files outside docs/, as addresses in the repository; and files outside docs/ as pages."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})", re.MULTILINE)
INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)
SHOWN = {".md", ".png", ".svg", ".jpg", ".gif"}  # files of docs/ that the site has
LINK = re.compile(r"\]\(([^()\s#]+)(#[^()\s]*)?\)")


def absolute(text: str, folder: Path, docs: Path, address: str, page: Path | None = None) -> str:
    """Return Markdown in which relative links out of `docs` to files that exist lead to the repository.

    Args:
        folder: of the text; its links are relative to it.
        address: of the repository's files.
        page: folder of the page that shows the text, if it is another; links to pages become relative to it.
    """

    def replaced(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link[1]))
        if "://" in link[1] or not target.exists():
            return link[0]
        if target.is_relative_to(docs) and target.suffix in SHOWN:
            return f"]({os.path.relpath(target, page or folder)}{link[2] or ''})"
        where = address.replace("/blob/", "/tree/") if target.is_dir() else address
        return f"]({where}/{target.relative_to(docs.parent)}{link[2] or ''})"

    return "".join(part if fenced else LINK.sub(replaced, part) for fenced, part in parts(text))


def parts(text: str) -> list[tuple[bool, str]]:
    """Return pieces of Markdown, each with True if it lies in a fence of code."""
    found: list[tuple[bool, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = FENCE.match(line)
        if fence:
            lines.append(line)
            if mark and mark[2].startswith(fence) and not line.strip().strip(fence[0]):
                found.append((True, "".join(lines)))
                lines, fence = [], ""
        elif mark and "{" not in line:  # a directive holds prose
            found.append((False, "".join(lines)))
            lines, fence = [line], mark[2]
        else:
            lines.append(line)
    return [*found, (bool(fence), "".join(lines))]


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Rewrite the links of a page before it is parsed, and put included files in their place."""
    docs, address = Path(app.srcdir), app.config.repository_url
    folder = (docs / name).parent

    def content(include: re.Match[str]) -> str:
        file = (folder / include[1]).resolve()
        if not file.is_file():
            return include[0]  # for Sphinx to report
        app.env.note_dependency(str(file))
        return absolute(file.read_text(encoding="utf-8"), file.parent, docs, address, folder)

    source[0] = INCLUDE.sub(content, absolute(source[0], folder, docs, address))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handlers."""
    app.add_config_value("repository_url", "", "env")
    app.add_config_value("site_url", "", "html")
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
