"""The page about ultralytics, which lossreg does not import: its lines train a small model."""

import csv
from pathlib import Path

import pytest
import torch

from lossreg.records import aggregate_by_dataset

from ..pages import BLOCK, run_blocks
from .data import trainer

ultralytics = trainer("ultralytics")

PAGE = Path(__file__).parents[2] / "docs/trainers/ultralytics.md"


def test_the_page(folder, monkeypatch):
    """It trains; results.csv has the parts, which add up; each picture is recorded by its path."""
    run_blocks(PAGE, folder, monkeypatch)
    (results,) = folder.rglob("results.csv")
    (row,) = csv.DictReader(results.read_text().splitlines())
    for split in ("train", "val"):
        parts = float(row[f"{split}/loss_cross_entropy"]) + float(row[f"{split}/loss_dice"])
        assert float(row[f"{split}/total_loss"]) == pytest.approx(parts, abs=2e-5)
    found = aggregate_by_dataset("records", together=True)["overall"]
    assert (found["count"], found["items"]) == (6 + 3, 6 + 3)


def test_the_criterion_of_the_page():
    """Its value is the loss times the examples, with its gradient, for logits of an eighth of the size."""
    namespace = {}
    exec(dict(reversed(BLOCK.findall(PAGE.read_text())))["python"], namespace)  # the first block
    from lossreg.integrations import Tracked

    criterion = namespace["Criterion"](Tracked("cross_entropy", adapt={"resize": "bilinear"}))
    logits = torch.randn(3, 2, 8, 8, requires_grad=True)
    mask = torch.randint(0, 2, (3, 64, 64), dtype=torch.int32)
    total, parts = criterion((logits, None), {"semantic_mask": mask, "im_file": ["a.png", "b.png", "c.png"]})
    large = torch.nn.functional.interpolate(logits, size=(64, 64), mode="bilinear", align_corners=False)
    expected = torch.nn.functional.cross_entropy(large, mask.long())
    torch.testing.assert_close(total, expected * 3)
    torch.testing.assert_close(parts["total_loss"], expected.detach())
    assert list(parts) == ["total_loss", "loss_cross_entropy"]
    (found,) = torch.autograd.grad(total, logits)
    torch.testing.assert_close(found, torch.autograd.grad(expected * 3, logits)[0])


def test_a_monitor_stops_the_training():
    """By the callback of the page."""
    from types import SimpleNamespace

    namespace = {}
    exec(dict(reversed(BLOCK.findall(PAGE.read_text())))["python"], namespace)  # the first block
    loss = SimpleNamespace(should_stop=False)
    training = SimpleNamespace(stop=False, model=SimpleNamespace(criterion=SimpleNamespace(loss=loss)))
    namespace["stop"](training)
    assert training.stop is False
    loss.should_stop = True
    namespace["stop"](training)
    assert training.stop is True
