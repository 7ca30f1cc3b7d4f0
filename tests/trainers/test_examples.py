"""The demo of trainers, as `make demo-trainers` runs it, with fewer steps."""

import runpy
from pathlib import Path

import pytest
import typer

from .data import trainer

trainer("lightning")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def demo(monkeypatch):
    """The names of compare.py. What it imports is found in its folder and in the one above."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(EXAMPLES / "trainers"))
    return runpy.run_path(str(EXAMPLES / "trainers" / "compare.py"))


def test_three_trainers_have_the_same_losses(demo, capsys, monkeypatch):
    """To 1e-5, from one YAML file, in a table with a column for each."""
    monkeypatch.setenv("COLUMNS", "100")
    demo["main"](config=EXAMPLES / "configs" / "bce_dice_focal.yaml", steps=4)
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    keys = ["train/total_loss", "train/loss_bce", "train/loss_dice", "train/loss_focal"]
    assert [row[1] for row in rows] == keys * 4
    assert [row[0] for row in rows if row[0]] == ["1", "2", "3", "4"]
    for _, _, *values in rows:
        assert len(values) == 3
        assert [float(value) for value in values] == pytest.approx([float(values[0])] * 3, abs=1e-5)
    assert float(rows[-4][2]) < float(rows[0][2])  # it trains


def test_a_difference_is_an_error(demo, monkeypatch):
    """In a value, a key or the number of steps; the exit code is 1."""
    steps = [{"train/total_loss": 1.0}, {"train/total_loss": 0.5}]
    assert demo["difference"](steps, steps) == 0
    assert demo["difference"]([*steps[:1], {"train/total_loss": 0.625}], steps) == 0.125
    assert demo["difference"](steps[:1], steps) == float("inf")
    assert demo["difference"]([{"loss": 1.0}, *steps[1:]], steps) == float("inf")
    trainers = demo["main"].__globals__["TRAINERS"]
    monkeypatch.setitem(trainers, "Lightning", lambda *_: steps[:1])
    monkeypatch.setitem(trainers, "transformers", lambda *_: steps)
    monkeypatch.setitem(trainers, "PyTorch", lambda *_: steps)
    with pytest.raises(typer.Exit) as exit:
        demo["main"](steps=1)
    assert exit.value.exit_code == 1
