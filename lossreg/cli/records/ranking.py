"""How a ranking of examples is printed: how sure it is, and a table of examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from lossreg.cli.records import shown

if TYPE_CHECKING:
    from lossreg.records.ranking import RankedExample, Ranking

HEADINGS = ("score", "error", "looks", "mean", "", "example")
SURE = "surely among the hardest 5 %"
_MARKS = {SURE: "surely", "high, but not seen enough": "not seen enough"}


def print_head(found: Ranking) -> None:
    """Print how sure a ranking is, and where it is known not to help."""
    sure = "-" if found.reliability is None else f"{found.reliability:.2f}"
    shown.paragraph(f"reliability {sure}: the share of the differences between examples that is not chance")
    shown.paragraph(f"{found.sure:,} of {found.total:,} examples are surely among the hardest 5 %")
    if found.controls:
        controls = found.controls
        count = f"{controls.found:,} of {controls.count:,} controls"
        shown.paragraph(f"{count} stand among the first {controls.first:,} examples")
    if found.note:
        shown.paragraph(f"note: {found.note}")


def print_examples(examples: Sequence[RankedExample], *, several: bool) -> None:
    """Print a table of examples.

    Args:
        several: they are of several runs or splits, which are named.
    """
    if examples:
        shown.table([HEADINGS, *(_row(one, several) for one in examples)], numbers=range(4))


def _row(one: RankedExample, several: bool) -> tuple[str, ...]:
    where = (one.run, one.split) if several else ()
    mark = f"{_MARKS.get(one.verdict, one.verdict)}{' (control)' * one.control}".strip()
    error = "-" if one.error is None else f"{one.error:.2f}"
    numbers = (f"{one.score:.2f}", error, f"{one.looks:,}", shown.number(one.mean))
    return (*numbers, mark, shown.name(asdict(one), *where))
