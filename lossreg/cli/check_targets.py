"""`lossreg check-targets`: statistics of the masks of a data set, before training."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lossreg.cli.docs import address_within
from lossreg.messages import printable

if TYPE_CHECKING:
    from lossreg.health.targets.report import TargetFinding, TargetReport
    from lossreg.health.targets.suggest import Suggestion

T = TypeVar("T")

WIDTH = 80  # characters of a line
INDENT = 12
BAR = 46
MAX_VALUES = 20  # rows of the table of values
MAX_EXAMPLES = 3  # names below a finding

Source = Annotated[
    str,
    typer.Argument(
        metavar="PATH|MODULE:LOADER",
        help="A folder of images, arrays or volumes, one such file, a .json file of COCO or SA-V, or a Parquet file"
        " with --column. Or a Dataset,"
        " DataLoader or iterable, or a function without arguments that returns one, imported from the current"
        " directory as well.",
    ),
]
IgnoreIndex = Annotated[
    int | None, typer.Option("--ignore-index", metavar="VALUE", help="Ignore pixels of this value.")
]
Column = Annotated[
    str | None,
    typer.Option("--column", help="A column of the Parquet file: images, paths, lists, or flags of presence."),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="Read at most N masks, spread evenly if their number is known."),
]
Images = Annotated[
    Path | None,
    typer.Option("--images", metavar="DIR", help="Compare the sizes of the images of the same names with the masks."),
]
Workers = Annotated[
    int, typer.Option("--workers", min=0, metavar="N", help="Read files in N threads; 0 is one per processor core.")
]
Suggest = Annotated[
    bool, typer.Option("--suggest", help="Name three losses worth trying first, with the reason of each.")
]
Png = Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Write a picture as well.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("check-targets")(check_targets)


def check_targets(
    source: Source,
    ignore_index: IgnoreIndex = None,
    column: Column = None,
    limit: Limit = None,
    images: Images = None,
    workers: Workers = 0,
    suggest: Suggest = False,
    png: Png = None,
    as_json: AsJson = False,
) -> None:
    """Examine masks before training: the share of empty masks, the size of the foreground, and the values.

    Exit 1 if a training on them goes wrong: all masks are empty, none could be read, or their classes are lost.
    """
    from lossreg.health.targets.examine import examine_source
    from lossreg.health.targets.picture import check_png, draw_targets
    from lossreg.health.targets.suggest import suggest as suggestions_for

    if png is not None:
        check_png(png)
    report = examine_source(
        source,
        column=column,
        limit=limit,
        images=images,
        ignore_index=ignore_index,
        thin=suggest,
        workers=workers or os.cpu_count() or 1,
        progress=_with_progress,
    )
    suggestions = suggestions_for(report, ignore_index=ignore_index) if suggest else ()
    if png is not None:
        draw_targets(report, png, source)
    if as_json:
        found = report.to_dict()
        if suggest:
            found["suggestions"] = [{**each._asdict(), "page": address_within(each.page)} for each in suggestions]
        print(json.dumps(found, indent=1, allow_nan=False))
    else:
        _print(report)
        if suggest:
            _print_suggestions(suggestions)
    if report.failed:
        raise typer.Exit(1)


def _with_progress(items: Iterator[T], total: int | None) -> Iterable[T]:
    """Yield the items with a bar on stderr, if that is a terminal. total: their number; None if it is unknown."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, "masks", total, console=Console(stderr=True), transient=True)


def _print(report: TargetReport) -> None:
    for heading, text in _overview(report):
        print(_wrapped(printable(text), f"{heading:<{INDENT}}", " " * INDENT))
    if report.shapes:
        _print_shares(report)
    if report.values:
        _print_values(report)
    for finding in report.findings:
        _print_finding(finding)


def _overview(report: TargetReport) -> Iterator[tuple[str, str]]:
    masks = max(report.masks, 1)
    unreadable = f", {report.unreadable:,} more could not be read" if report.unreadable else ""
    known = ", known only as present or absent" if report.flags else ""
    yield "masks", f"{report.masks:,}{known}{unreadable}"
    yield "empty", f"{report.empty:,} ({report.empty / masks:.1%})"
    if report.shapes:
        yield "full", f"{report.full:,} ({report.full / masks:.1%})"
        more = f", others: {report.more_shapes:,}" if report.more_shapes else ""
        yield "shapes", _counted(report.shapes) + more
        yield "dtypes", _counted(report.dtypes)
    if report.minimum is not None and report.maximum is not None:
        yield "values", f"{report.minimum:g} to {report.maximum:g}"
    if report.foreground is not None:
        yield "foreground", f"{_percent(report.foreground)} of all pixels"
    if report.quantiles:
        named = [f"{name} {_percent(share)}" for name, share in report.quantiles.items()]
        yield "", "of masks with foreground: " + ", ".join(named[:3]) + ","
        yield "", ", ".join(named[3:])


def _counted(counts: dict[str, int]) -> str:
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{name}: {count:,}" for name, count in counts.items())


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _print_shares(report: TargetReport) -> None:
    from lossreg.health.targets.picture import bars

    rows = bars(report)
    most = max(1, *(count for _, count in rows))
    print(f"\n{'foreground':<12}{'masks':>12}")
    for label, count in rows:
        # A count above 0 gets a bar, however small its share.
        bar = "#" * max(round(BAR * count / most), count > 0)
        print(f"{label:<12}{count:>12,}  {bar}".rstrip())


def _print_values(report: TargetReport) -> None:
    print(f"\n{'value':<12}{'in masks':>12}{'of pixels':>14}")
    for value, masks, pixels in report.values[:MAX_VALUES]:
        print(f"{value:<12g}{masks:>12,}{_percent(pixels):>14}")
    if (left := len(report.values) - MAX_VALUES) > 0 or report.more_values:
        print(f"and {left} more" if left > 0 and not report.more_values else "and more")


def _print_finding(finding: TargetFinding) -> None:
    print("\n" + _wrapped(f"{finding.severity}: {finding.message}", "", " " * 4))
    for name in finding.examples[:MAX_EXAMPLES]:
        print(_wrapped(printable(name), " " * 4, " " * 8))
    if (left := finding.masks - MAX_EXAMPLES) > 0 and finding.examples:
        print(f"    and {left:,} more")


def _print_suggestions(suggestions: tuple[Suggestion, ...]) -> None:
    if not suggestions:
        print("\n" + _wrapped("no suggestions: they need foreground, and pixels without the errors above", "", " " * 4))
        return
    print("\nworth trying first, though none is promised to be the best:")
    for number, (config, reason, _) in enumerate(suggestions, start=1):
        print(_wrapped(json.dumps(config), f"{number}.  ", " " * 4))
        print(_wrapped(reason, " " * 4, " " * 4))
    print("read more:", *dict.fromkeys(address_within(each.page) for each in suggestions), sep="\n    ")


def _wrapped(text: str, first: str, others: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False))
