"""Every code block of the documentation runs, and prints the text block that follows it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

import lossreg
from lossreg.hooks import manager as hooks

pytestmark = pytest.mark.tools

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("README.md", "docs/*.md", "plugins/*/README.md")
    for path in ROOT.glob(pattern)
    if "```python" in path.read_text()
)
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.mark.skipif(not PAGES, reason="the documentation lies in the checkout, and only the tests are here")
def test_there_is_documentation():
    """README, guide and the plugins' pages are found."""
    assert len(PAGES) >= 4


# Over 10 s for conformance.md, which runs the kit: its kernels are compiled.
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    """Python blocks run in order in one namespace; a text block equals the output of the block before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hooks, "_complete", None)  # a page may register hooks
    namespace: dict = {"__name__": "acme_losses"}
    printed = ""
    with lossreg.losses.scope():
        for language, code in BLOCK.findall(page.read_text()):
            name = re.match(r"# (\S+)\n", code)
            if language == "python":
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(compile(code, f"{page.name} block", "exec"), namespace)
                printed = output.getvalue()
            elif language == "text":
                assert printed == code
            elif language == "yaml" and name:
                Path(name[1]).write_text(code)
