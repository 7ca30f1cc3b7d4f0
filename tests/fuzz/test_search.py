"""A short search of each target by changes at random, and the search itself, which finds a planted mistake."""

import json
import random
import time

import pytest

from lossreg import InvalidConfigError

from . import __main__ as command
from .search import Search, _memory, by_mutation
from .target import Target
from .targets import TARGETS


@pytest.mark.tools
@pytest.mark.parametrize("name", TARGETS)
def test_a_short_search_finds_nothing(name, tmp_path):
    """A success or a LossregError, within a second and 300 MiB; `make fuzz` searches for minutes."""
    folder = tmp_path / "target"
    folder.mkdir()
    search = Search(name, TARGETS[name](folder), tmp_path, seconds=10, inputs=200)
    by_mutation(search, seed=random.randrange(2**32))
    assert search.inputs > 0
    assert [(what, path.read_bytes()) for what, path in search.violations.values()] == []


def _planted(data):
    if data.startswith(b"!"):
        raise ValueError("planted")
    if data.startswith(b"?"):
        raise InvalidConfigError("allowed", problems=())
    if data.startswith(b"s"):
        began = time.process_time()
        while time.process_time() - began < 1.2:
            pass
    if data.startswith(b"m"):
        before, held = _memory(), []
        while _memory() < before + 310 * 2**20:  # above the most that this process ever had
            held.append(b"x" * 2**24)


PLANTED = Target(_planted, [b"", b"?", b"??"], [b"!", b"?"])


@pytest.mark.tools  # takes seconds and much memory
@pytest.mark.parametrize(
    "data, what",
    [(b"!", "ValueError at test_search.py"), (b"s", "took more than 1 s"), (b"m", "took more than 300 MiB")],
)
def test_an_input_that_breaks_a_rule_is_kept(tmp_path, monkeypatch, data, what):
    """Once for each kind, and an error of lossreg is none."""
    if data == b"m":  # a process that had much memory before needs more than a second to exceed it
        monkeypatch.setattr(f"{Search.__module__}.MAX_SECONDS", 60.0)
    search = Search("planted", PLANTED, tmp_path, seconds=60)
    for each in (b"?", data, data + b"more"):
        search.try_one(each)
    ((found, path),) = search.violations.values()
    assert found.startswith(what)
    assert path.read_bytes() == data


def test_a_search_by_mutation_finds_what_is_planted(tmp_path):
    """From seeds that do not have it."""
    search = Search("planted", PLANTED, tmp_path, seconds=60, inputs=500)
    by_mutation(search)
    assert any("planted" in what for what in search.violations)


def test_a_search_ends_after_its_inputs(tmp_path):
    """And after its time."""
    quiet = Target(lambda data: None, [b"a"])
    search = Search("quiet", quiet, tmp_path, seconds=60, inputs=7)
    by_mutation(search)
    assert (search.inputs, search.violations) == (7, {})
    search = Search("quiet", quiet, tmp_path, seconds=0.05)
    by_mutation(search)
    assert search.inputs > 7


def test_the_command_fails_at_a_violation(tmp_path, capsys):
    """Its table has the line that shows the exception again."""
    found = {"target": "tags", "engine": "mutation", "seconds": 3.2, "inputs": 12345, "violations": []}
    assert command.table([found]) == 0
    assert command.table([found, found | {"violations": [["ValueError at x.py:3: boom", f"{tmp_path}/tags-0"]]}]) == 1
    output = capsys.readouterr().out
    assert "tags                 mutation          3    12,345           1" in output
    assert f"python -m tests.fuzz tags --replay {tmp_path}/tags-0" in output


def test_the_command_knows_every_target():
    """They are listed without the imports of the targets."""
    assert [*TARGETS] == command.NAMES


@pytest.mark.tools
def test_the_command_runs_each_target_in_a_process(tmp_path, capsys):
    """By the engine of its option, and keeps nothing where nothing is found."""
    arguments = ["tags", "--minutes", "0.02", "--engine", "mutation", "--folder", str(tmp_path / "found")]
    assert command.main(arguments) == 0
    assert "tags                 mutation          1" in capsys.readouterr().out
    assert [*(tmp_path / "found").iterdir()] == []


def test_a_kept_input_is_tried_again(tmp_path):
    """Its exception is shown as it was raised."""
    (tmp_path / "config").write_text(json.dumps({"name": "dice", "params": 3}))
    with pytest.raises(InvalidConfigError, match="expected a mapping of parameters"):
        command.main(["json", "--replay", str(tmp_path / "config")])
