"""The demo, run like `make demo`, for one epoch; and the picture of the README."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
TRAIN = ROOT / "examples" / "train.py"

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not TRAIN.exists(), reason="the examples lie in the checkout, and only the tests are here"),
]


def train(*arguments):
    return subprocess.run(
        [sys.executable, str(TRAIN), *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_the_demo_trains_every_config_and_draws(tmp_path):  # over 10 s: three trainings
    """A table with a row for each config, and the two pictures."""
    done = train("--epochs", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("bce", "bce_dice_focal", "mixture", "coins", "page", "retina", "hubble"):
        assert name in done.stdout
    for picture in ("curves.png", "predictions.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_a_typo_in_a_config_ends_the_demo_before_training(tmp_path):
    """Exit 1 with the problem's place, and no traceback."""
    config = tmp_path / "typo.yaml"
    config.write_text("training:\n  loss:\n    name: bce\n    params: {pos_weigth: 2}\n")
    done = train("--configs", config, "--out", tmp_path)
    assert done.returncode == 1
    assert "params.pos_weigth: unknown parameter; did you mean 'pos_weight'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_picture_of_the_readme_is_what_its_script_draws(tmp_path):
    """Nine panels, under 300 KB; after a change of a loss or of the script, draw it again."""
    committed = ROOT / "docs" / "images" / "six-losses.png"
    assert committed.stat().st_size < 300_000
    script = ROOT / "examples" / "six_losses.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "drawn.png")], check=True)
    drawn, kept = (np.asarray(Image.open(path).convert("RGB"), float) for path in (tmp_path / "drawn.png", committed))
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 4  # of 255: fonts differ between machines
    blue, orange = drawn[310:550, 10:250, 2], drawn[310:550, 10:250, 0]  # the panel of bce
    assert blue[30, 85] > 200 > orange[30, 85]  # the gap is pushed up
    assert orange[95, 78] > 200 > blue[95, 78]  # the blob is pushed down
