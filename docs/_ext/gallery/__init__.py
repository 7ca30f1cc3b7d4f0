"""The gallery: a page and pictures for each loss, written from the manifests before a build.

    losses/index.md        cards by family
    losses/NAME.md         a page for each loss of lossreg's own packages
    losses/of_LIBRARY.md   a page for each library that lossreg describes
    _build/pictures/       pictures, values, and the parts of the pages that are written by hand

`pictures.py` draws what changed since the last build; the rest takes a second.
"""

from __future__ import annotations

from pathlib import Path

from generated import write
from sphinx.application import Sphinx
from sphinx.config import Config

from gallery import chooser, comparison, front, libraries, loss_page
from gallery.cache import draw_all
from gallery.entries import LIBRARIES, ours

PICTURES = Path("_build") / "pictures"


def generate(app: Sphinx) -> None:
    """Write the pages and the pictures."""
    source = Path(app.srcdir)
    drawn = draw_all(ours(), source / PICTURES / "losses")
    pages = {"index": front.page(ours(), drawn)}
    pages |= {entry.name: loss_page.page(entry, drawn[entry.name]) for entry in ours()}
    pages |= {f"of_{library}": libraries.page(library) for library in LIBRARIES}
    for name, text in pages.items():
        write(source / "losses" / f"{name}.md", text)
    write(source / PICTURES / "compare.md", comparison.part(ours(), drawn))
    write(source / PICTURES / "problems.md", chooser.part(source / "howto"))


def add_data(app: Sphinx, config: Config) -> None:
    """Write the data of the chooser into a folder of static files."""
    folder = Path(app.srcdir) / PICTURES / "static"
    write(folder / "chooser_data.js", chooser.data(Path(app.srcdir) / "howto"))
    config.html_static_path.append(str(folder))


def add_scripts(app: Sphinx, name: str, *_: object) -> None:
    """Load the chooser on its page alone."""
    if name == "losses/choose":
        for script in ("chooser_data.js", "chooser_words.js", "chooser.js"):
            app.add_js_file(script, defer="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handlers."""
    app.add_css_file("gallery.css")
    app.connect("config-inited", add_data)
    app.connect("builder-inited", generate)
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
