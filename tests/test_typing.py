"""The public names as type checkers see them, by a user's module that takes every function."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

USER = Path(__file__).parent / "typing" / "user_code.py"

pytestmark = pytest.mark.tools


def test_mypy_finds_no_error_in_strict_mode():
    """Installed packages are typed, and the inferred types are those that the module asserts."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", str(USER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=USER.parent)
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr


def test_basedpyright_finds_no_error(tmp_path):
    """In its standard mode, which is pyright's."""
    pytest.importorskip("basedpyright")
    config = {"include": [str(USER)], "typeCheckingMode": "standard", "reportPrivateImportUsage": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.splitlines()[-1:] == ["0 errors, 0 warnings, 0 notes"], done.stdout + done.stderr
