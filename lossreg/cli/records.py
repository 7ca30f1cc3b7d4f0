"""`lossreg records`: summary, flagged captions, export and report of the records of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lossreg.cli.columns import aligned
from lossreg.errors import LossregError
from lossreg.messages import printable

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A directory of shards.", show_default=False)]
TopK = Annotated[int, typer.Option("--top-k", min=1, help="Number of examples in each list.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
MemoryLimit = Annotated[
    str, typer.Option("--memory-limit", metavar="SIZE", help="Memory of DuckDB; beyond it, DuckDB uses the disk.")
]
STATISTICS = ("count", "items", "nan", "infinite", "mean", "median", "minimum", "maximum")
MAX_TEXT = 100  # characters of a text in the terminal
NAMELESS = "(without a name)"
HEADINGS = ("dataset", "rows", "items", "NaN", "infinite", "mean", "median", "minimum", "maximum")


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Per-example records of a run.")
    group.command("summary")(summary)
    group.command("flag")(flag)
    group.command("export")(export)
    group.command("report")(report)
    app.add_typer(group, name="records")


def summary(directory: Directory, top_k: TopK = 10, as_json: AsJson = False, memory_limit: MemoryLimit = "1GB") -> None:
    """Print statistics of each dataset, and the examples with the highest and the lowest loss."""
    _require()
    from lossreg.records.aggregate import aggregate_by_dataset
    from lossreg.records.reader import connect

    with connect(directory, memory_limit=memory_limit) as connection:
        found = aggregate_by_dataset(connection, top_k=top_k)
    if as_json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return
    rows = [*found["datasets"].items(), ("all", found["overall"])]
    cells = [(_short(name), *(_number(row[key]) for key in STATISTICS)) for name, row in rows]
    print("\n".join(aligned([HEADINGS, *cells], numbers=range(1, len(HEADINGS)))))
    for heading, key in (("highest mean loss", "highest"), ("lowest mean loss", "lowest")):
        print(f"\n{heading}")
        _print_examples(found["overall"][key], "mean")


def flag(directory: Directory, top_k: TopK = 20, as_json: AsJson = False, memory_limit: MemoryLimit = "1GB") -> None:
    """Print the captions that each rule flags, the highest loss first."""
    _require()
    from lossreg.records.captions import flag_bad_captions
    from lossreg.records.reader import connect

    with connect(directory, memory_limit=memory_limit) as connection:
        found = flag_bad_captions(connection, top_k=top_k)
    if as_json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return
    print(f"{found['checked']:,} captions judged")
    for rule, flagged in found["rules"].items():
        print(f"\n{rule}  {flagged['count']:,}")
        _print_examples(flagged["examples"], "loss")


def export(
    directory: Directory,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the rows: path, dataset, caption, loss.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the summary and every example.")
    ] = None,
    top_k: TopK = 10,
    memory_limit: MemoryLimit = "1GB",
) -> None:
    """Write every row to a CSV file, every example to a JSON file, or both."""
    if csv is None and json is None:
        raise LossregError("nothing to write: add --csv FILE, --json FILE or both")
    _require()
    from lossreg.records.export import export_csv, export_json
    from lossreg.records.reader import connect

    with connect(directory, memory_limit=memory_limit) as connection:
        if csv is not None:
            export_csv(connection, csv)
            print(csv)
        if json is not None:
            export_json(connection, json, top_k=top_k)
            print(json)


def report(
    directory: Directory,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page; DIR/report.html by default.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="The page's heading.")] = None,
    images: Annotated[
        Path, typer.Option("--images", metavar="FOLDER", help="The folder of relative image paths.")
    ] = Path(),
    top_k: TopK = 20,
    memory_limit: MemoryLimit = "1GB",
) -> None:
    """Write one HTML page: statistics, distributions, examples with pictures, flagged captions, loss over steps."""
    _require()
    from lossreg.records.report import write_report

    path = out or directory / "report.html"
    print(write_report(directory, path, title=title, top_k=top_k, images=images, memory_limit=memory_limit))


def _require() -> None:
    from lossreg.messages import require

    require("duckdb", "numpy", "PIL", extra="records", use="records")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _print_examples(items: Sequence[Mapping[str, Any]], loss: str) -> None:
    for item in items:
        parts = (item["dataset"], item["sample_id"] or item["path"] or NAMELESS, item["caption"])
        print("  ".join([f"{_number(item[loss]):>10}", *(_short(part) for part in parts if part)]))


def _short(text: str) -> str:
    return printable(text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…")
