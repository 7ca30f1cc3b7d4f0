"""The check of a release for the version, its tag and its changelog: each of its messages."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if not (ROOT / "release").is_dir():
    pytest.skip("the check of a release lies in the checkout, and only the tests are here", allow_module_level=True)

from release import changelog, version  # noqa: E402

# ---- version


@pytest.mark.parametrize(
    "given, expected",
    [
        ("0.1.0", ">=0.1,<0.2"),
        ("0.9.4", ">=0.9,<0.10"),
        ("1.0.0", ">=1.0,<2"),
        ("2.3.1", ">=2.3,<3"),
        ("0.2.0rc1", ">=0.2.0rc1,<0.3"),
    ],
)
def test_the_range_that_plugins_depend_on(given, expected):
    """The same minor version before 1.0, the same major one after; a candidate is in its own range."""
    assert version.range_for(given) == expected


PROJECT = """\
name = "lossreg-sam"
dependencies = ["lossreg>=0.1,<0.2", "lossreg-segmentation>=0.1,<0.2", "torch>=2.6"]
optional = ["lossreg[plot]"]
"""


def test_a_new_version_changes_the_ranges_of_ours_alone():
    """Names, extras and other packages do not change."""
    assert version.with_ranges(PROJECT, "0.2.0") == PROJECT.replace(">=0.1,<0.2", ">=0.2,<0.3")
    assert version.with_ranges(PROJECT, "0.1.7") == PROJECT


def test_a_range_that_does_not_match_the_version_is_found():
    """As written in the file."""
    assert version.wrong_ranges(PROJECT, "0.1.0") == []
    assert version.wrong_ranges(PROJECT, "0.2.0") == ['"lossreg>=0.1,<0.2"', '"lossreg-segmentation>=0.1,<0.2"']


def test_the_version_is_one_line_of_the_package():
    """It can be read and replaced."""
    source = '"""lossreg."""\n\n__version__ = "0.1.0"\n\n__all__ = ["build"]\n'
    assert version.version_in(source) == "0.1.0"
    assert version.with_version(source, "0.2.0") == source.replace("0.1.0", "0.2.0")
    with pytest.raises(SystemExit, match=r'lossreg/__init__\.py has no line __version__ = "…"; write one'):
        version.version_in("version = 1")


@pytest.mark.parametrize(
    "given, message",
    [
        (
            "0.1.0.0-beta!",
            "lossreg/__init__.py: __version__ is '0.1.0.0-beta!', which is not a valid version; write one such as",
        ),
        ("0.2.0-rc1", "lossreg/__init__.py: __version__ is '0.2.0-rc1'; write '0.2.0rc1'"),
    ],
)
def test_a_version_that_is_none_or_not_in_its_usual_form(given, message):
    """The usual form is that of file names and of the index."""
    assert version.complaints(given)[0].startswith(message)


def test_a_checkout_of_another_version_names_every_range(monkeypatch, tmp_path):
    """With the file, the right range, and the command that writes it."""
    monkeypatch.setattr(version, "ROOT", tmp_path)
    (tmp_path / "plugins/lossreg-sam").mkdir(parents=True)
    (tmp_path / "plugins/lossreg-sam/pyproject.toml").write_text(PROJECT)
    first, _ = version.complaints("0.2.0")
    assert first == (
        'plugins/lossreg-sam/pyproject.toml: "lossreg>=0.1,<0.2" does not match 0.2.0;'
        " write >=0.2,<0.3, or run `python -m release.version 0.2.0`"
    )


def test_the_command_sets_the_version_and_its_ranges(monkeypatch, tmp_path, capsys):
    """And prints the written files and the next steps."""
    monkeypatch.setattr(version, "ROOT", tmp_path)
    for path, text in {"lossreg/__init__.py": '__version__ = "0.1.0"\n', "plugins/a/pyproject.toml": PROJECT}.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert version.main(["0.2.0"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote lossreg/__init__.py",
        "wrote plugins/a/pyproject.toml",
        "now write the entry '## 0.2.0, unreleased' of CHANGELOG.md, and run `make -B setup`:",
        "until then the installed packages have the old version",
        "0.2.0",
    ]
    assert (tmp_path / "lossreg/__init__.py").read_text() == '__version__ = "0.2.0"\n'
    assert version.main(["two"]) == 2
    assert capsys.readouterr().err == "'two' is not a valid version; give one such as 0.2.0\n"


@pytest.mark.parametrize("tag, expected", [(None, 0), ("v0.1.0", 0), ("0.1.0", 1), ("v0.2.0", 1)])
def test_a_tag_matches_the_version(tag, expected):
    """With a leading v."""
    found = version.tag_complaints(tag, "0.1.0")
    assert found == [
        f"the tag {tag} does not match 0.1.0; use v0.1.0, or set the version: python -m release.version"
    ] * (expected)


def test_this_checkout_agrees_with_its_version():
    """Every range in it matches."""
    assert version.complaints(version.current()) == []


# ---- changelog


@pytest.mark.parametrize(
    "text, dated, message",
    [
        ("## 0.2.0, unreleased\n\n- New.\n", False, None),
        ("## 0.2.0, 2026-11-30\n\n- New.\n\n## 0.1.0, 2026-01-01\n\n- Old.\n", True, None),
        ("## 0.1.0, 2026-01-01\n\n- Old.\n", False, "no entry of 0.2.0, there are 0.1.0; write '## 0.2.0, unreleased'"),
        ("# Changes\n", False, "no entry of 0.2.0, there are none; write"),
        ("## 0.2.0, unreleased\n\n- New.\n", True, "has the date 'unreleased'; write a date such as 2026-11-30"),
        ("## 0.2.0, soon\n\n- New.\n", False, "has the date 'soon'; write a date such as 2026-11-30, or 'unreleased'"),
        ("## 0.2.0, 2026-13-01\n\n- New.\n", True, "has the date '2026-13-01'; write a date"),
        ("## 0.2.0, 20261130\n\n- New.\n", True, "has the date '20261130'; write a date"),
        ("## 0.2.0, unreleased\n\n## 0.1.0, 2026-01-01\n\n- Old.\n", False, "the entry of 0.2.0 is empty; write what"),
        (
            "## 0.3.0, unreleased\n\n- A.\n\n## 0.2.0, unreleased\n\n- B.\n",
            False,
            "0.3.0 is above 0.2.0; move the entry of 0.2.0 to the top",
        ),
    ],
)
def test_the_entry_of_a_version(text, dated, message):
    """It exists, is the first, is not empty, and has a date once it is published."""
    found = changelog.complaints(text, "0.2.0", dated=dated)
    assert len(found) == (message is not None)
    for complaint in found:
        assert complaint.startswith("CHANGELOG.md: ")
        assert message in complaint
