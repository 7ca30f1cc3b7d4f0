"""Formulas drawn when the site is built: by KaTeX where Node is installed, else as MathML. Pages need no script."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

KATEX = """
const katex = require(process.argv[1]);
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [tex, displayMode] = JSON.parse(line);
  try {
    console.log(JSON.stringify([katex.renderToString(tex, { displayMode }), ""]));
  } catch (error) {
    console.log(JSON.stringify(["", error.message]));
  }
});
"""
log = logging.getLogger(__name__)


@cache
def node() -> subprocess.Popen[str] | None:
    """Return a process that draws a formula for each line that it reads; None without Node."""
    program, place = shutil.which("node"), find_spec("sphinxcontrib.katex")
    if program is None or place is None or place.origin is None:
        return None
    script = Path(place.origin).with_name("katex.min.js")
    return subprocess.Popen(
        [program, "-e", KATEX, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )


@cache
def drawn(tex: str, display: bool) -> tuple[str, str]:
    """Return a formula as HTML, and the error if it cannot be read."""
    process = node()
    if process is None:
        return mathml(tex, display), ""
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps([tex, display]) + "\n")
    process.stdin.flush()
    html, error = json.loads(process.stdout.readline())
    return html, error


def mathml(tex: str, display: bool) -> str:
    """Return a formula as MathML."""
    from latex2mathml.converter import convert

    return convert(tex, display="block" if display else "inline")


def write(translator: Any, node: nodes.Element) -> None:
    """Write a formula, and report one that cannot be read."""
    display = isinstance(node, nodes.math_block)
    html, error = drawn(node.astext(), display)
    if error:
        log.warning("formula %r: %s", node.astext(), error, location=node)
    tag = "div" if display else "span"
    translator.body.append(f'<{tag} class="math">{html}</{tag}>')
    raise nodes.SkipNode


def end(app: Sphinx, error: Exception | None) -> None:
    """End the process."""
    process = node() if node.cache_info().currsize else None
    if process is not None:
        process.communicate()
    node.cache_clear()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the writers of formulas."""
    app.add_html_math_renderer("katex", inline_renderers=(write, None), block_renderers=(write, None))
    app.connect("build-finished", end)
    app.add_css_file("katex/katex.min.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
