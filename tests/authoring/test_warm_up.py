"""`lossreg warm-up`: the kernels of losses are compiled for the usual types, and a training finds them on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import lossreg
from lossreg.authoring import warm_up as module
from lossreg.cli import warm_up as command
from lossreg.errors import ImplementationError, InputError, MissingLibraryError, NotFoundError


class Kernel:
    """Numba's statistics of one compiled function."""

    def __init__(self, path):
        self.cache_path, self.cache_hits, self.cache_misses = path, {"a": 1, "b": 2}, {"c": 4}
        self.stats = self


@pytest.fixture
def calls(monkeypatch, torch):
    """Record the calls of a loss in place of compiling anything; returns their types, shapes and ignored values."""
    made = []

    def record(loss, input, target, *others):
        made.append((str(input.dtype), str(target.dtype), input.shape[1], target.ndim, loss.ignore_index))
        return input.sum()

    monkeypatch.setattr(module, "is_installed", lambda package: True)
    monkeypatch.setattr(module, "_kernels", lambda: [Kernel("/folder"), Kernel(None)][: 2 * bool(made)])
    for name in ("dice", "bce", "sam"):
        monkeypatch.setattr(lossreg.losses.get(name), "forward", record)
    return made


def test_a_loss_is_called_for_all_usual_types(calls):
    """Masks of one channel and class indices; with and without ignored pixels."""
    (found,) = module.warm_up(["dice"])
    assert len(set(calls)) == len(calls) == 3 * 3 * 2 * 2
    assert ("torch.bfloat16", "torch.uint8", 1, 4, 255) in calls
    assert ("torch.float16", "torch.int64", 3, 3, None) in calls
    assert found[:3] == ("dice", 4, 3)
    assert found.seconds > 0
    assert module.folders() == ["/folder"]


def test_the_types_can_be_chosen(calls):
    """A mistake names those that are known."""
    list(module.warm_up(["dice"], logits=["float64"], targets=["bool"]))
    assert {call[:2] for call in calls} == {("torch.float64", "torch.bool")}
    with pytest.raises(InputError, match=r"--logits: no dtype 'half'; use float32, bfloat16, float16, float64"):
        list(module.warm_up(["dice"], logits=["half"]))
    with pytest.raises(InputError, match=r"--target: no dtype 'long'; use uint8, bool, int64, int32, float32"):
        list(module.warm_up(["dice"], targets=["long"]))


def test_a_config_file_is_called_with_its_parameters(calls, tmp_path):
    """As a sum of losses, whose kernels are those of no loss alone."""
    file = tmp_path / "loss.json"
    file.write_text(json.dumps({"name": "dice", "params": {"ignore_index": 7}}))
    (found,) = module.warm_up([str(file)])
    assert found.name == str(file)
    assert {call[-1] for call in calls} == {7}


def test_other_inputs_are_those_that_the_loss_makes(calls):
    """SAM's losses take the predicted IoU, too."""
    list(module.warm_up(["sam"]))
    assert ("torch.float32", "torch.bool", 1, 4, None) in calls


def test_without_names_every_loss_with_kernels_is_called(monkeypatch, calls):
    """Those whose contract names Numba."""
    monkeypatch.setattr(module, "_losses", lambda name: [])
    names = [found.name for found in module.warm_up()]
    assert {"dice", "sam2", "cross_entropy"} <= set(names)
    assert "lovasz_softmax" not in names


def test_what_cannot_be_warmed_up_says_why(monkeypatch, calls):
    """With the remedy."""
    with pytest.raises(ImplementationError, match="lovasz_softmax has no compiled kernels and needs no warm-up"):
        list(module.warm_up(["lovasz_softmax"]))
    with pytest.raises(NotFoundError, match="dice"):
        list(module.warm_up(["dise"]))

    def three(loss, input, target, third):
        raise AssertionError

    monkeypatch.setattr(lossreg.losses.get("dice"), "forward", three)
    message = r"dice takes other inputs than logits and a target \(.*'third'\); warm up by a call of your own"
    with pytest.raises(ImplementationError, match=message):
        list(module.warm_up(["dice"]))
    monkeypatch.setattr(module, "is_installed", lambda package: False)
    with pytest.raises(MissingLibraryError, match="lossreg warm-up: numba is not installed; pip install numba"):
        list(module.warm_up(["dice"]))


@pytest.fixture
def run():
    app = typer.Typer()
    app.callback()(lambda: None)  # or Typer drops the name of an only command
    command.add_to(app)
    return lambda *arguments: CliRunner().invoke(app, ["warm-up", *arguments])


def test_the_command_prints_a_row_for_each_loss_and_the_folder(calls, run, monkeypatch):
    """Exit 1 where nothing is kept, with the remedy."""
    result = run("dice", "bce", "--logits", "float32")
    assert result.exit_code == 0, result.output
    heading, dice, bce, _, kept, folder = result.output.splitlines()
    assert heading.split() == ["loss", "compiled", "from", "disk", "seconds"]
    assert dice.split()[:3] == ["dice", "4", "3"]
    assert bce.split()[:3] == ["bce", "0", "0"]
    assert (kept, folder) == ("kept in", "    /folder")
    monkeypatch.setattr(module, "_kernels", lambda: [Kernel(None)])
    result = run("dice")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == (
        "nothing is kept: no folder is writable; set NUMBA_CACHE_DIR to one that is, here and in the training"
    )


@pytest.mark.tools
@pytest.mark.parametrize("name", ["dice", "sam", "sam2", "spatial_relevance"])
def test_a_training_finds_the_kernels(name, tmp_path):
    """A second process compiles nothing."""
    program = "from lossreg.cli import main; main()"
    command = [sys.executable, "-c", program, "warm-up", name, "--logits", "float32", "--target", "uint8"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    rows = []
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rows.append(done.stdout.splitlines()[1].split()[1:3])
    (compiled, _), (again, read) = rows
    assert int(compiled) > 0
    assert (again, read) == ("0", compiled)
