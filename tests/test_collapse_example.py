"""The example of missing masks, shortened: it runs, and reports data and training apart."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COLLAPSE = ROOT / "examples" / "collapse.py"

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not COLLAPSE.exists(), reason="the examples lie in the checkout, and only the tests are here"),
]


def collapse(*arguments):
    return subprocess.run(
        [sys.executable, str(COLLAPSE), *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_it_trains_under_three_losses_and_draws(tmp_path):  # over 10 s: three trainings
    """160 targets, 1 in 50 kept; in so few steps nothing is wrong with a training that leaves empty ones out."""
    done = collapse("--steps", 20, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("160 targets, ")
    printed = " ".join(done.stdout.split())
    assert "are empty: a model may collapse to predicting nothing" in printed
    *_, ignoring = printed.partition("bce_dice_focal, absent=ignore: nothing wrong with the training")
    assert ignoring.startswith(" of the data: ZeroLoss at step 20")
    for name in ("bce", "bce_dice_focal", "coins", "page", "retina", "hubble"):
        assert name in printed
    assert (tmp_path / "collapse.png").read_bytes().startswith(b"\x89PNG")


def test_without_any_mask_it_ends_before_training(tmp_path):
    """The check of the targets is an error; no picture is drawn."""
    done = collapse("--steps", 2, "--missing", 1, "--out", tmp_path)
    assert done.returncode == 1
    assert "error: all 16 masks are empty" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bce_collapses_and_the_monitor_reports_it_before_the_end(tmp_path):  # half a minute: one training of 300 steps
    """As the text of the example has it; the other trainings need not run for that."""
    code = (
        "import torch, collapse; from rich.progress import Progress; torch.set_num_threads(1)\n"
        "training, validation = collapse.load(0)\n"
        "with Progress(disable=True) as progress:\n"
        "    history = collapse.fit('bce', training, validation, 0.98, 300, 0, progress)\n"
        "print([(event.rule, event.step < 300) for event in history.events_of('fault')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=COLLAPSE.parent
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[('Collapse', True)]"
