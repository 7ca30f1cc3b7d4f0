"""`lossreg records report`: one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossreg.cli.records.options import Directory, MemoryLimit, TopK, with_filters

if TYPE_CHECKING:
    from lossreg.records.filters import Filters


def add_to(group: typer.Typer) -> None:
    """Register the command of this file."""
    group.command("report")(with_filters(report))


def report(
    directory: Directory,
    filters: Filters,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page; DIR/report.html by default.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="The page's heading.")] = None,
    images: Annotated[
        Path, typer.Option("--images", metavar="FOLDER", help="The folder of relative image paths.")
    ] = Path(),
    target_path: Annotated[
        str | None,
        typer.Option(
            "--target-path",
            metavar="TEMPLATE",
            help="Targets to draw over images, as 'masks/{stem}.png'; or a column of paths.",
        ),
    ] = None,
    prediction: Annotated[
        str | None,
        typer.Option("--prediction", metavar="TEMPLATE", help="Predictions, likewise."),
    ] = None,
    top_k: TopK = 20,
    memory_limit: MemoryLimit = "1GB",
) -> None:
    """Write one HTML page: which examples lose most and how sure that is, data sets, loss over steps, captions."""
    from lossreg.records.report import write_report

    written = write_report(
        directory,
        out or directory / "report.html",
        title=title,
        top_k=top_k,
        images=images,
        target_path=target_path,
        prediction=prediction,
        filters=filters,
        memory_limit=memory_limit,
    )
    print(written)
