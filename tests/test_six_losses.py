"""The picture of the README, drawn again by its script."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "six_losses.py"

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not SCRIPT.exists(), reason="the examples lie in the checkout, and only the tests are here"),
]


def test_the_picture_of_the_readme_is_what_its_script_draws(tmp_path):
    """Nine panels, under 300 KB; after a change of a loss or of the script, draw it again."""
    committed = ROOT / "docs" / "images" / "six-losses.png"
    assert committed.stat().st_size < 300_000
    subprocess.run([sys.executable, str(SCRIPT), str(tmp_path / "drawn.png")], check=True)
    with Image.open(tmp_path / "drawn.png") as new, Image.open(committed) as old:
        drawn, kept = (np.asarray(picture.convert("RGB"), float) for picture in (new, old))
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 4  # of 255: fonts differ between machines
    blue, orange = drawn[310:550, 10:250, 2], drawn[310:550, 10:250, 0]  # the panel of bce
    assert blue[30, 85] > 200 > orange[30, 85]  # the gap is pushed up
    assert orange[95, 78] > 200 > blue[95, 78]  # the blob is pushed down
