"""How the commands on records print numbers, texts, tables and lists of examples."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lossreg.cli.columns import aligned, cut
from lossreg.messages import printable

MAX_TEXT = 100  # characters of a text
NAMELESS = "(without a name)"
NO_RUN, NO_SPLIT = "(without a run)", "(without a split)"


def number(value: float | None) -> str:
    """Show a number by four digits, or "-" if there is none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def short(text: str) -> str:
    """Show a text on one line, cut to a readable length."""
    return printable(text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…")


def name(example: Mapping[str, Any]) -> str:
    """Show which example it is: its data set, name and caption."""
    parts = (example["dataset"], example["sample_id"] or example["path"] or NAMELESS, example["caption"])
    return "  ".join(short(part) for part in parts if part)


def part(run: str | None, split: str | None) -> str:
    """Show a run and a split."""
    return f"run {short(run) if run else NO_RUN}, split {short(split) if split else NO_SPLIT}"


def table(rows: Iterable[Sequence[str]], *, numbers: Collection[int] = ()) -> None:
    """Print aligned columns, in a terminal cut to its width."""
    lines(aligned(rows, numbers=numbers))


def lines(texts: Iterable[str]) -> None:
    """Print lines, in a terminal cut to its width; a pipe has no width."""
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for text in texts:
        print(text if limit is None else cut(text, limit))


def examples(items: Sequence[Mapping[str, Any]], loss: str) -> None:
    """Print one line for each example, with its loss."""
    lines(f"{number(item[loss]):>10}  {name(item)}" for item in items)


def left_out(count: int) -> str:
    """Say how many rows do not count as they are repeated; "" of none."""
    return f"{count:,} {'row' if count == 1 else 'rows'} left out as repeated" if count else ""
