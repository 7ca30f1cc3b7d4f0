"""Warnings point to the user's own line, and Python shows those about old names by default."""

import ast
import inspect
import subprocess
import sys
import warnings
from importlib.machinery import BuiltinImporter
from pathlib import Path

import pytest

import lossreg
from lossreg import losses

ROOT = Path(__file__).parents[1] / "lossreg"

SCRIPT = """
import lossreg
from torch import nn

@lossreg.losses.register("renaming", renamed={"eps": "smooth"})
class Renaming(nn.Module):
    def __init__(self, smooth: float = 1.0):
        super().__init__()

OLD = {"name": "renaming", "params": {"eps": 0.5}}
lossreg.build(OLD)  # here 1
lossreg.build({"name": "product", "params": {"terms": [OLD]}})  # here 2
lossreg.LossConfig(**OLD)
lossreg.validate(
    OLD,
)  # here 3
from lossreg.slots import Part  # here 4
"""


def _line():
    return inspect.currentframe().f_back.f_lineno


@pytest.mark.parametrize("use", [lossreg.build, lossreg.validate])
@pytest.mark.parametrize("outer", ["alone", "within"])
def test_a_renamed_parameter_is_told_at_the_line_that_gives_it(use, outer):
    """Through hooks and validators, at any depth of the config."""
    with losses.scope(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        losses.register_lazy(
            "renaming",
            "torch.nn:L1Loss",
            renamed={"how": "reduction"},
            parameters={"properties": {"reduction": {"type": "string"}}, "required": []},
        )
        config = {"name": "renaming", "params": {"how": "sum"}}
        config = config if outer == "alone" else {"name": "weighted_sum", "params": {"terms": [config]}}
        line = _line() + 1
        use(config)
    (warning,) = [each for each in caught if issubclass(each.category, DeprecationWarning)]
    assert (warning.filename, warning.lineno) == (__file__, line)


def test_broken_hooks_are_told_at_the_line_that_needs_them(site, monkeypatch):
    """The first build loads them."""
    monkeypatch.setattr("lossreg.hooks.manager._complete", None)
    site.module("bad_hooks", "raise RuntimeError('boom')")
    site.distribution("bad", hooks={"bad": "bad_hooks"})
    line = _line() + 2
    with pytest.warns(UserWarning, match="broken and left out") as caught:
        lossreg.build("dice")
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)


def test_lossreg_warns_by_its_own_function_alone():
    """A fixed number of frames would point into a file of lossreg's."""
    found = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and ast.unparse(node.func) in ("warnings.warn", "warnings.warn_explicit"):
                found.append(path.name)
    assert found == ["messages.py"]


@pytest.mark.tools
def test_a_script_shows_the_warnings_about_old_names(tmp_path):
    """Without any option, each with its own line."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "Warning" in line]
    told = {int(line.partition("train.py:")[2].partition(":")[0]) for line in lines if "DeprecationWarning" in line}
    source = SCRIPT.splitlines()
    expected = {number for number, line in enumerate(source, 1) if "lossreg.build(" in line or "here 4" in line}
    assert expected <= told, done.stderr
    assert len(lines) == len(told)
    assert "the parameter 'eps' was renamed; write 'smooth'" in done.stderr


def test_code_without_a_file_is_warned_as_well():
    """`python -c` and standard input run in a module whose loader has no source, and raised an ImportError."""
    code = "from lossreg.messages import warn\nwarn('a sentence')"
    with pytest.warns(UserWarning, match="a sentence") as caught:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__", "__loader__": BuiltinImporter})
    assert [(each.filename, each.lineno) for each in caught] == [("<string>", 2)]
