"""How the commands on records print numbers, texts, tables and lists of examples."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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


def name(example: Mapping[str, Any], *where: str | None) -> str:
    """Show which example it is: its name, where it is from, its data set and caption."""
    parts = (example["sample_id"] or example["path"] or NAMELESS, *where, example["dataset"], example["caption"])
    return "  ".join(short(part) for part in parts if part)


def part(run: str | None, split: str | None) -> str:
    """Show a run and a split."""
    return f"run {short(run) if run else NO_RUN}, split {short(split) if split else NO_SPLIT}"


def table(rows: Iterable[Sequence[str]], *, numbers: Collection[int] = ()) -> None:
    """Print aligned columns, in a terminal cut to its width."""
    lines(aligned(rows, numbers=numbers))


def lines(texts: Iterable[str]) -> None:
    """Print lines, in a terminal cut to its width."""
    limit = shutil.get_terminal_size().columns if is_terminal() else None
    for text in texts:
        print(text if limit is None else cut(text, limit).rstrip())


def is_terminal() -> bool:
    """Return whether the output has a width."""
    return sys.stdout.isatty()


def paragraph(text: str) -> None:
    """Print a text, in a terminal wrapped to its width."""
    width = shutil.get_terminal_size().columns if is_terminal() else 0
    wrapped = textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False) if width else [text]
    print("\n".join(wrapped))


def examples(items: Sequence[Mapping[str, Any]], loss: str) -> None:
    """Print a table of examples with their scores and losses. loss: the key of that, such as "mean"."""
    if items:
        rows = ((_score(item["score"]), number(item[loss]), name(item)) for item in items)
        table([("score", loss, "example"), *rows], numbers=range(2))


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def left_out(repeated: Mapping[str, int]) -> Iterator[str]:
    """Say how many rows of each run do not count as they are repeated."""
    for run, count in repeated.items():
        rows = f"{count:,} {'row' if count == 1 else 'rows'}"
        yield f"run {short(run) if run else NO_RUN}: {rows} left out as repeated"
