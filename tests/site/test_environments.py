"""Environments with exactly the packages of a page, and runs of its blocks there."""

import subprocess
import sysconfig
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs" / "check").is_dir():
    pytest.skip("the checks of the site lie in the checkout, and only the tests are here", allow_module_level=True)

from docs.check import blocks  # noqa: E402
from docs.check.environments import (  # noqa: E402
    ENVIRONMENTS,
    Environments,
    NotInstalledError,
    closure,
    requirements,
)

PACKAGES = Path(sysconfig.get_path("purelib"))


@pytest.mark.parametrize(
    "shell, packages",
    [
        ("pip install lossreg lossreg-sam    # Python 3.11", ["lossreg", "lossreg-sam"]),
        ("pip install 'lossreg[records,plot]' \"torch>=2.6\"", ["lossreg[records,plot]", "torch>=2.6"]),
        ("python -m pip install --upgrade lossreg\nlossreg doctor\npip install scipy", ["lossreg", "scipy"]),
        ("make demo", []),
        ("pip install -e '.[dev]'", ["lossreg[dev]"]),
    ],
)
def test_the_packages_of_a_shell_script(shell, packages):
    """Options and other commands are no packages."""
    assert requirements(shell) == packages


def fake(folder, name, *requires):
    """A distribution in a folder of packages."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    lines = [f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {each}" for each in requires)]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    return PathDistribution(info)


def test_a_package_comes_with_what_it_needs(tmp_path):
    """And with the packages of an extra, if the extra is requested."""
    here = {
        "a": fake(tmp_path, "a", "b", 'c; extra == "more"', 'w; sys_platform == "none"'),
        "b": fake(tmp_path, "b", "not-here"),
        "c": fake(tmp_path, "c"),
    }
    assert sorted(closure(["a"], here)) == ["a", "b"]
    assert sorted(closure(["a[more]"], here)) == ["a", "b", "c"]


@pytest.mark.parametrize("wanted", [["gone"], ["a[more]"]])
def test_a_package_that_is_not_here_is_named(tmp_path, wanted):
    """One that is requested, or one of an extra: no environment without it is called exact."""
    with pytest.raises(NotInstalledError, match="gone is not installed here"):
        closure(wanted, {"a": fake(tmp_path, "a", 'gone; extra == "more"')})


def test_a_build_of_the_wheel_does_not_walk_through_environments():
    """Hatchling takes a folder once, so a link to `lossreg` that it meets first leaves the wheel empty."""
    inside = ENVIRONMENTS.relative_to(ROOT).parts if ENVIRONMENTS.is_relative_to(ROOT) else (".venv",)
    assert inside[0] == ".venv"


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    return Environments(tmp_path_factory.mktemp("environments"), [PACKAGES])


@pytest.mark.tools
def test_an_environment_has_these_packages_and_no_others(environments):
    """lossreg comes from the checkout with its metadata; pytest is installed here, and not there."""
    python = environments.python(["lossreg", "lossreg-sam"])
    code = (
        "import importlib.util as u, importlib.metadata as m\n"
        "names = ('lossreg', 'lossreg_sam', 'torch', 'lossreg_monai', 'pytest', 'numba', 'tests')\n"
        "print([n for n in names if u.find_spec(n)], m.version('lossreg'))"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    import lossreg

    there = "['lossreg', 'lossreg_sam', 'torch', 'lossreg_segmentation'] "
    assert found.stdout in (
        f"['lossreg', 'lossreg_sam', 'torch'] {lossreg.__version__}\n",
        f"{there}{lossreg.__version__}\n",
    )
    assert environments.python(["lossreg-sam", "lossreg"]) == python  # made once


def page(tmp_path, monkeypatch, text):
    """A page of documentation in a checkout of its own."""
    monkeypatch.setattr(blocks, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(text)
    return tmp_path / "page.md"


def test_a_page_names_what_its_blocks_need(tmp_path, monkeypatch):
    """A page with blocks and without an install line is a fault. Lines below the last block do not count."""
    found = page(tmp_path, monkeypatch, "```python\n1\n```\n\n```sh\npip install lossreg\n```\n")
    (outcome,) = blocks.run([found], Environments(tmp_path, []))
    assert outcome.problem == "no `pip install` line above its blocks names what they need"
    assert outcome.blocks == 1


@pytest.mark.tools
@pytest.mark.parametrize(
    "code, problem",
    [
        ("from packaging import version\nprint(open)", "ModuleNotFoundError: No module named 'packaging'"),
        ("import warnings\nwarnings.warn('old')", "UserWarning: old"),
        ("print(1)\n```\n\n```text\n2", "AssertionError: page.md shows"),
        ("import os, pluggy\nprint(os.listdir())\n```\n\n```text\n[]", ""),
    ],
)
def test_blocks_run_in_an_empty_folder_with_what_the_page_names(tmp_path, monkeypatch, environments, code, problem):
    """What it does not name is missing, a warning is an error, and the text block is the output."""
    found = page(tmp_path, monkeypatch, f"```sh\npip install pluggy\n```\n\n```python\n{code}\n```\n")
    (outcome,) = blocks.run([found], environments)
    assert problem in outcome.problem
    assert bool(outcome.problem) == bool(problem)


@pytest.mark.parametrize(
    "above, packages",
    [
        ("```sh\npip install a\n```\nor `pip install b`", ["a"]),
        ("Install it by `pip install b 'c[d]'`.", ["b", "c[d]"]),
        ("    pip install a", []),
    ],
)
def test_the_packages_of_a_page(above, packages):
    """Those of its blocks of shell; a page without one may name them in a line."""
    assert blocks.wanted(f"{above}\n\n```python\n1\n```\n") == packages


def test_every_page_with_blocks_is_found():
    """README, guides and the plugins' pages; those that a build writes are not among them."""
    found = {str(path.relative_to(ROOT)) for path in blocks.pages()}
    assert {"README.md", "plugins/lossreg-sam/README.md"} <= found
    assert not any(name.startswith(("docs/_build", "docs/reference/python")) for name in found)
