"""The list of mutants fits the code. To test that they are noticed takes minutes: `python tests/mutants.py`."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from .mutants import BEGIN, END, ROOT, Mutant, Outcome, misfits, mutants, put, table

PAGE = ROOT / "docs" / "testing.md"

pytestmark = pytest.mark.skipif(
    not (ROOT / "lossreg").is_dir(), reason="the sources lie in the checkout, and only the tests are here"
)

MUTANT = Mutant(
    "a", "lossreg/messages.py", "def printable(", "def shown(", "a | b", ["tests/parameters/test_wording.py"]
)


def test_every_mutant_fits():
    """Its text occurs once in its file, and its tests exist. Update tests/mutants.toml with the code."""
    assert misfits(mutants()) == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"old": "return "}, "a: its old text occurs "),
        (
            {"old": "def printed("},
            "a: its old text occurs 0 times in lossreg/messages.py, and must occur once",
        ),
        ({"file": "lossreg/word.py"}, "a: its old text occurs 0 times in lossreg/word.py, and must occur once"),
        ({"tests": ["tests/test_word.py::test_it"]}, "a: there is no file tests/test_word.py"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    assert misfits([MUTANT]) == []
    (found,) = misfits([replace(MUTANT, **change)])
    assert found.startswith(message)


def test_each_has_a_row_in_the_page():
    """If not, run `python tests/mutants.py --table docs/testing.md`."""
    names = [one.name for one in mutants()]
    assert len({*names}) == len(names)
    _, _, rows = PAGE.read_text().partition(BEGIN)
    assert re.findall(r"^\| ([\w-]+) \| `", rows, re.MULTILINE) == names
    assert "no test" not in rows


def test_the_table_goes_between_the_marks(tmp_path):
    """Old text is replaced; a page without marks is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put(
        page,
        table(
            [
                (MUTANT, Outcome(1.6, "tests/parameters/test_wording.py::test_it")),
                (replace(MUTANT, name="b"), Outcome(2)),
            ]
        ),
    )
    assert page.read_text().splitlines() == [
        "before",
        BEGIN,
        "",
        "| mistake | file | what a user would suffer | noticed by | s |",
        "|---|---|---|---|--:|",
        r"| a | `lossreg/messages.py` | a \| b | `tests/parameters/test_wording.py::test_it` | 2 |",
        r"| b | `lossreg/messages.py` | a \| b | **no test** | 2 |",
        "",
        END,
        "after",
    ]
    page.write_text("nothing")
    with pytest.raises(SystemExit, match=r"page\.md lacks the lines"):
        put(page, "")
