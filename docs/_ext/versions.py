"""The list of versions beside the pages: of the built one alone. `docs.check.publish` writes it for several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from generated import write

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def generate(app: Sphinx, error: Exception | None) -> None:
    """Write the list."""
    if error is None and app.builder.format == "html":
        write(Path(app.outdir) / "versions.json", json.dumps([{"name": app.config.version, "path": "./"}]) + "\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("build-finished", generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
