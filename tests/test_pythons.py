"""The files that tests/pythons.py runs on every Python: all but the excluded names and folders."""

from pathlib import Path

import pytest

from .pythons import selected

TESTS = Path(__file__).parent


def test_excluded_folders_and_files_do_not_run():
    """composites/ needs torch, records/ an extra, and plot.py torch; the rules of the registry need neither."""
    found = {path.relative_to(TESTS).as_posix() for path in selected().values()}
    assert "registry/test_names.py" in found
    assert "authoring/test_stubs.py" in found
    assert not [path for path in found if path.startswith(("composites/", "records/"))]
    assert "authoring/test_plot.py" not in found


def test_a_new_file_runs():
    """Without exclusions every file runs, so a file is excluded only by its own name or its folder's."""
    files = sorted(TESTS.rglob("test_*.py"))
    assert sorted(selected(frozenset()).values()) == files
    assert {*files} - {*selected({"records/", "plot"}).values()} == {
        *(TESTS / "records").glob("test_*.py"),
        TESTS / "authoring" / "test_plot.py",
    }


@pytest.mark.parametrize("name", ["gone", "gone/", "crash"])
def test_an_exclusion_without_effect_is_an_error(name):
    """A file or folder that was renamed, or a file whose folder is excluded."""
    with pytest.raises(SystemExit, match=f"excludes {name} without effect; remove it from the list"):
        selected({"records/", name})
