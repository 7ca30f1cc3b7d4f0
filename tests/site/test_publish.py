"""Versions of the site as folders."""

import json
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
