"""The page that leads to those of the trainers."""

import re
from pathlib import Path

from ..pages import run_blocks

PAGES = Path(__file__).parents[2] / "docs" / "trainers"


def test_the_page_runs(folder, monkeypatch):
    """In order, as a user would paste it."""
    run_blocks(PAGES / "index.md", folder, monkeypatch)


def test_each_page_is_in_the_table_and_each_link_leads_to_a_file():
    """Of every page of a trainer."""
    for page in PAGES.glob("*.md"):
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (PAGES / link).exists(), f"{page.name}: {link}"
    table = re.findall(r"^\| \[.*?\]\((\w+\.md)\)", (PAGES / "index.md").read_text(), re.MULTILINE)
    assert set(table) == {page.name for page in PAGES.glob("*.md")} - {"index.md", "tested.md"}


def test_each_named_test_exists():
    """In the file of its row."""
    rows = re.findall(r"^\|[^|]*\| (test_\w+\.py) \|(.*)$", (PAGES / "tested.md").read_text(), re.MULTILINE)
    assert len(rows) > 25
    for file, cells in rows:
        known = set(re.findall(r"^def (test_\w+)", (Path(__file__).parent / file).read_text(), re.MULTILINE))
        assert set(re.findall(r"`(test_\w+)`", cells)) <= known, file
