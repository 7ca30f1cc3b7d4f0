"""The tutorials of docs/start, run as they stand: each trains, and ends with a picture. SAM's is in tests/trainers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from .pages import run_blocks

ROOT = Path(__file__).parent.parent
START = ROOT / "docs" / "start"
pytestmark = pytest.mark.skipif(not START.is_dir(), reason="the pages lie in the checkout, and only the tests are here")


def size(path):
    """Return width and height of a picture in pixels."""
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("page", sorted(START.glob("*.md")), ids=lambda page: page.stem)
def test_the_pictures_of_a_page_are_there_and_small(page):
    """Each at most 150 KB, and no wider than twice a phone's screen of 390 points."""
    for picture in re.findall(r"!\[.+\]\((\S+)\)", page.read_text()):
        file = page.parent / picture
        assert file.stat().st_size < 150_000
        assert size(file)[0] <= 780


@pytest.mark.parametrize("page", sorted(START.glob("*.md")), ids=lambda page: page.stem)
def test_a_line_that_installs_stands_above_the_first_block(page):
    """So that a reader can run every block."""
    text = page.read_text()
    first = re.search(r"```(python|yaml)\n", text)
    assert "```sh\npip install" in text[: first.start() if first else None]


@pytest.mark.tools
def test_a_first_training(tmp_path, monkeypatch):  # over 10 s: two trainings
    """The mixture finds more than bce does; both commands of the page work; the report shows the tiles."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    page = START / "first_training.md"
    names = run_blocks(page, tmp_path, monkeypatch)
    assert names["iou"]["mixture"] > names["iou"]["bce"] > 0.4
    assert size(tmp_path / "first-training.png") == size(ROOT / "docs" / "images" / "first-training.png")
    for command in re.findall(r"```sh\n(lossreg .+)\n```", page.read_text()):
        arguments = [part.strip("'") for part in command.split()[1:]]
        run = "from lossreg.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", run, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    report = (tmp_path / "records" / "mixture" / "report.html").read_text()
    assert "data:image/" in report
