"""The demo, run like `make demo`, for one epoch."""

import subprocess
import sys
from pathlib import Path

import pytest

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
