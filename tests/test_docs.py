"""Every code block of the documentation runs, and prints the text block that follows it."""

from pathlib import Path

import pytest

from .pages import run_blocks

pytestmark = pytest.mark.tools

ROOT = Path(__file__).parent.parent
KINDS = ("howto", "explanation", "reference")  # trainers and tutorials have tests of their own
PAGES = sorted(
    path
    for pattern in ("README.md", "docs/*.md", *(f"docs/{kind}/*.md" for kind in KINDS), "plugins/*/README.md")
    for path in ROOT.glob(pattern)
    if "```python" in path.read_text()
)


@pytest.mark.skipif(not PAGES, reason="the documentation lies in the checkout, and only the tests are here")
def test_there_is_documentation():
    """README, how-tos and the plugins' pages are found."""
    assert len(PAGES) >= 4


# Over 10 s for conformance.md, which runs the kit: its kernels are compiled.
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    """Python blocks run in order in one namespace; a text block equals the output of the block before it."""
    run_blocks(page, tmp_path, monkeypatch)
