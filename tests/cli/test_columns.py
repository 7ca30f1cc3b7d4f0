"""Columns of text in the terminal."""

import pytest

from lossreg.cli.columns import aligned, cut, line, width


def test_columns_are_as_wide_as_their_widest_cell():
    """Two spaces apart, text to the left, numbers to the right, no space at the end of a line."""
    rows = [("name", "n", "summary"), ("dice", "1234", ""), ("a", "7", "overlap")]
    assert aligned(rows, numbers=[1]) == ["name     n  summary", "dice  1234", "a        7  overlap"]


def test_wide_characters_take_two_cells():
    """Lines of equal cells, not of equal characters: 損失 is four cells, é as two code points is one."""
    assert aligned([("損失", "x"), ("loss", "x"), ("e\u0301", "x")]) == ["損失  x", "loss  x", "e\u0301     x"]


@pytest.mark.parametrize(
    "text", ["", "dice", "損失関数", "Größe", "e\u0301a", "ﾊﾝｶｸ", "\uff21\uff11", "한글", "😀", "§±…"]
)
def test_the_width_is_that_of_rich(text):
    """Rich measures terminals for a living."""
    cells = pytest.importorskip("rich.cells", reason="Rich is not installed, so there is nothing to compare with")
    assert width(text) == cells.cell_len(text)


def test_control_characters_are_replaced():
    """So that no cell moves the cursor."""
    assert aligned([("a\x1b[2J", "b\nc")]) == ["a?[2J  b?c"]


def test_no_rows_are_no_lines():
    """An empty table has no widths."""
    assert aligned([]) == []


def test_a_line_of_fixed_widths():
    """A cell that is too long shifts the others."""
    assert line(["ab", "1"], [4, 3], numbers=[1]) == "ab      1"
    assert line(["abcdef", "1"], [4, 3], numbers=[1]) == "abcdef    1"


@pytest.mark.parametrize(
    "text, limit, expected",
    [("abcd", 4, "abcd"), ("abcd", 3, "abc"), ("損失", 3, "損"), ("損失", 1, ""), ("é", 1, "é")],
)
def test_a_text_is_cut_to_cells(text, limit, expected):
    """Half of a wide character is none."""
    assert cut(text, limit) == expected
