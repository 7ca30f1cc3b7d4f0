"""Columns of text, aligned by the cells that characters take in a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence

from lossreg.messages import printable

GAP = "  "


def aligned(rows: Iterable[Sequence[str]], *, numbers: Collection[int] = ()) -> list[str]:
    """Return one line for each row; a column is as wide as its widest cell.

    Args:
        rows: cells, the same number in each row. Control characters are replaced.
        numbers: the indexes of the columns that are aligned to the right.
    """
    cells = [[cell if cell.isprintable() else printable(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    return [line(row, widths, numbers=numbers) for row in cells]


def line(cells: Sequence[str], widths: Sequence[int], *, numbers: Collection[int] = ()) -> str:
    """Return printable cells as one line, each padded to the width of its column."""
    padded = []
    for index, (cell, wide) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (wide - width(cell))
        padded.append(space + cell if index in numbers else cell + space)
    return GAP.join(padded).rstrip()


def width(text: str) -> int:
    """Return the number of terminal cells of a printable text.

    The standard library suffices; importing Rich's `cell_len` takes 2 ms, which every `lossreg list` would pay.
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def cut(text: str, limit: int) -> str:
    """Return the beginning of a text that takes at most `limit` cells."""
    while width(text) > limit:
        text = text[: min(limit, len(text) - 1)]
    return text


def _cells(character: str) -> int:
    """Return 2 for a wide character, 0 for a mark on the character before it, 1 for any other."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
