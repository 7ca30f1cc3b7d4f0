"""llms.txt: the pages of the site with a sentence about each, for readers that are programs."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from generated import write
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

# Sections by folder, in their order.
SECTIONS = {
    "start": "Start",
    "losses": "Losses",
    "coming_from": "Coming from another library",
    "trainers": "Trainers",
    "howto": "How-to",
    "explanation": "Explanation",
    "reference": "Reference",
    "": "More",
}
SHORT = 200


def listing(pages: dict[str, tuple[str, str]], address: str, summary: str) -> str:
    """Return the file. pages: title and first sentence of each page, by its name."""
    blocks = [f"# lossreg\n\n> {summary}"]
    for folder, heading in SECTIONS.items():
        rows = [
            f"- [{title}]({address}{name}.html){': ' if about else ''}{about}"
            for name, (title, about) in sorted(pages.items())
            if (name.split("/")[0] if name.split("/")[0] in SECTIONS and "/" in name else "") == folder
        ]
        if rows:
            blocks.append(f"## {heading}\n\n" + "\n".join(rows))
    return "\n\n".join(blocks) + "\n"


def first_sentence(tree: nodes.document) -> str:
    """Return the first sentence of the first paragraph of a page, in one line."""
    for paragraph in tree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and text:
            sentence = text.split(". ")[0].rstrip(".:")
            return f"{sentence}." if len(sentence) <= SHORT else f"{sentence[:SHORT].rsplit(' ', 1)[0]} ..."
    return ""


def described(env: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """Return the title and the first sentence of each page."""
    names = sorted(env.found_docs - {"index"})
    return {name: (env.titles[name].astext(), first_sentence(env.get_doctree(name))) for name in names}


def generate(app: Sphinx, error: Exception | None) -> None:
    """Write the file beside the pages."""
    if error is None and app.builder.format == "html":
        about = first_sentence(app.env.get_doctree("index"))
        write(Path(app.outdir) / "llms.txt", listing(described(app.env), app.config.site_url, about))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("build-finished", generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
