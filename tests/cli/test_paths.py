"""Paths that the system refuses: every command that takes a path answers in one line, with exit code 1."""

import json
import subprocess
import sys

import pytest

import lossreg
from lossreg import LossregError
from lossreg.authoring import stubs
from lossreg.health.targets.sources import read_targets

LONG = "a" * 300  # a name may have 255 bytes

COMMANDS = [
    ("records", "summary", LONG),
    ("records", "flag", LONG),
    ("records", "export", LONG, "--json", "x.json"),
    ("records", "report", LONG, "--out", "x.html"),
    ("check-targets", LONG),
    ("check-targets", f"{LONG}.npy"),
    ("check-targets", LONG, "--column", "mask"),
    ("validate", LONG),
    ("validate", f"{LONG}.yaml"),
    ("stubs", LONG),
    ("new-plugin", "acme-losses", LONG),
    ("new-plugin", f"acme-{LONG}"),
    ("plot", "dice", "--out", f"{LONG}.png"),
]


@pytest.mark.tools
def test_a_name_that_is_too_long_is_an_error_in_one_line(tmp_path):
    """All in one process, as its imports take most of the time."""
    code = (
        "import io, json, sys\n"
        "from contextlib import redirect_stderr\n"
        "from lossreg.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    sys.argv, error = ['lossreg', *words], io.StringIO()\n"
        "    try:\n"
        "        with redirect_stderr(error): main()\n"
        "    except SystemExit as stop: print(stop.code, error.getvalue().count('\\n'), error.getvalue()[:9])\n"
        "    except BaseException as other: print(type(other).__name__, words[:2])\n"
    )
    command = [sys.executable, "-c", code, json.dumps(COMMANDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1 1 lossreg: "] * len(COMMANDS)


@pytest.mark.parametrize("name", [LONG, "a\0b"], ids=["long", "null"])
def test_functions_that_take_a_path_raise_an_error_of_lossreg(tmp_path, name):
    """The system refuses the path with an OSError, Python with a ValueError."""
    records = pytest.importorskip("lossreg.records", reason="reads with DuckDB")
    with pytest.raises(LossregError, match=r"the directory of records cannot be read: .*; check the path"):
        records.aggregate_by_dataset(tmp_path / name)
    with pytest.raises(LossregError, match="no such file or folder; expected a folder of PNG"):
        read_targets(tmp_path / name)
    with pytest.raises(LossregError):
        lossreg.read_config(tmp_path / name)


def test_a_stub_in_a_folder_with_a_long_name_is_an_error(tmp_path):
    """The first look at the path does not end in the system's own error."""
    with pytest.raises(LossregError, match="cannot be written: File name too long; choose another folder"):
        stubs.write(tmp_path / LONG)


def test_a_folder_of_records_without_permission_is_there(tmp_path, monkeypatch):
    """The message has the reason, as the path is right."""
    records = pytest.importorskip("lossreg.records", reason="reads with DuckDB")

    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refused)
    with pytest.raises(LossregError, match="the directory of records cannot be read: Permission denied"):
        records.aggregate_by_dataset(tmp_path)
