"""Run the tutorials of docs/start, and keep the pictures that they draw: `python docs/images/tutorials.py`.

The one about SAM needs transformers: `.venv-trainers/bin/python docs/images/tutorials.py sam_thin_structures`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from tests.pages import run_blocks  # noqa: E402


def main(names: list[str]) -> None:
    """Run the pages, each in an empty folder, and copy the pictures in it whose names are on the page."""
    for name in names:
        page = ROOT / "docs" / "start" / f"{name}.md"
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            run_blocks(page, Path(folder), patch)
            for picture in Path(folder).glob("*.png"):
                if f"../images/{picture.name}" in page.read_text():
                    print(shutil.copy(picture, HERE))


if __name__ == "__main__":
    main(sys.argv[1:] or ["first_training"])
