"""Versions of the site as folders."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs" / "check").is_dir():
    pytest.skip("the checks of the site lie in the checkout, and only the tests are here", allow_module_level=True)

from docs.check.publish import publish  # noqa: E402


def test_the_newest_release_lies_at_the_root_and_every_copy_lists_all(tmp_path):
    """0.10 is newer than 0.9; a development version never lies at the root, nor an old release that is mended."""
    sites = tmp_path / "sites"
    sites.mkdir()
    for version in ("0.9", "0.10", "dev", "0.9"):
        built = tmp_path / "built"
        built.mkdir(exist_ok=True)
        (built / "index.html").write_text(version)
        publish(built, sites, version)
    assert [(sites / name / "index.html").read_text() for name in (".", "0.9", "0.10", "dev")] == [
        "0.10",
        "0.9",
        "0.10",
        "dev",
    ]
    assert json.loads((sites / "versions.json").read_text()) == [
        {"name": name, "path": f"{name}/"} for name in ("0.10", "0.9", "dev")
    ]
    for copy in ("0.9", "0.10", "dev"):
        listed = json.loads((sites / copy / "versions.json").read_text())
        assert listed == [{"name": name, "path": f"../{name}/"} for name in ("0.10", "0.9", "dev")]


def test_before_the_first_release_the_root_is_the_development_version(tmp_path):
    """So that the address of the site leads somewhere."""
    built = tmp_path / "built"
    built.mkdir()
    (built / "index.html").write_text("dev")
    (tmp_path / "sites").mkdir()
    publish(built, tmp_path / "sites", "dev")
    assert (tmp_path / "sites" / "index.html").read_text() == "dev"


@pytest.mark.tools  # builds a wheel
def test_a_wheel_of_the_site_has_its_pages(tmp_path):
    """In the package that `lossreg docs` looks for; and nothing else of docs/. Here of a site of two files."""
    docs, package = tmp_path / "docs", tmp_path / "lossreg"
    (docs / "_build" / "html" / "losses").mkdir(parents=True)
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "0.3.0"\n')
    (docs / "_build" / "html" / "index.html").write_text("")
    (docs / "_build" / "html" / "losses" / "dice.html").write_text("")
    (docs / "index.md").write_text("")
    shutil.copy(ROOT / "docs" / "pyproject.toml", docs)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(docs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    names = zipfile.ZipFile(tmp_path / "lossreg_docs-0.3.0-py3-none-any.whl").namelist()
    assert sorted(name for name in names if ".dist-info/" not in name) == [
        "lossreg_docs/index.html",
        "lossreg_docs/losses/dice.html",
    ]
