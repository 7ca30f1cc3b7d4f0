"""`lossreg list` and `lossreg show`: what is there, without importing any loss whose manifest describes it."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lossreg.discovery.manifest import source_file
from lossreg.messages import is_installed, printable
from lossreg.parameters import docstring
from lossreg.parameters.wording import words
from lossreg.registries import losses, parts
from lossreg.registry.entry import Entry


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command("list")(list_losses)
    app.command("show")(show)


def list_losses(
    tag: Annotated[
        str | None,
        typer.Option("--tag", metavar="EXPR", help="Only these, e.g. 'binary & (overlap | sam) & !mixture'."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    of_parts: Annotated[
        bool, typer.Option("--parts", help="Distances, reducers, miners and the like instead.")
    ] = False,
) -> None:
    """List losses by name, with tags and a summary."""
    registry = parts if of_parts else losses
    names = registry.list() if tag is None else registry.find(tag)
    rows = [_row(name, registry.entry(name)) for name in names]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    _print_rows(rows, registry.name)
    missing = [entry for entry in map(registry.entry, names) if entry.state == "missing"]
    for reason in dict.fromkeys(f"{entry.provider}: {entry.reason}" for entry in missing):
        typer.echo(printable(reason), err=True)
    for source, _, error in registry.failures:
        typer.echo(printable(f"not read: {source}: {error}"), err=True)


def show(name: Annotated[str, typer.Argument(help="A name, an alias or provider/name.")]) -> None:
    """Show a loss: formula, parameters, shapes, tags, contract, and where it comes from."""
    registry = parts if name in parts and name not in losses else losses
    entry = registry.entry(name)
    from lossreg.authoring.describe import description

    about = description(entry)
    print(printable(f"{entry.full_name}  {about.get('summary', '')}".rstrip()))
    if formula := about.get("formula"):
        print("\n" + "\n".join(f"    {printable(line)}" for line in formula.splitlines()))
    _print_parameters(about["parameters"])
    for heading in ("shapes", "source"):
        if text := about.get(heading):
            _print_section(heading, text.splitlines())
    _print_section("tags", [", ".join(sorted(registry.entry(name).tags or ())) or "none"])
    if contract := about.get("contract"):
        plain = {key: value for key, value in contract.items() if key != "implementations"}
        _print_section("contract", [f"{key}: {_value(value)}" for key, value in plain.items()])
        if ways := contract.get("implementations"):
            _print_section("computed by the first that fits", [_implementation(*way) for way in ways.items()])
    if example := about.get("example"):
        _print_section("the least that it needs", [json.dumps({"name": entry.name, "params": example})])
    where = source_file(entry.target)
    installed = f"{entry.distribution} {entry.version}" if entry.distribution else "registered in code"
    aliases = [f"aliases {', '.join(entry.aliases)}"] if entry.aliases else []
    origin = [
        f"provider {entry.provider} ({installed})",
        *aliases,
        f"target {entry.target}",
        f"file {where or 'unknown'}",
    ]
    _print_section("origin", origin)


def _row(name: str, entry: Entry) -> dict[str, Any]:
    summary = entry.metadata.get("summary")
    if summary is None and entry.cls is not None:
        summary = docstring.sections(entry.cls.__doc__).get("summary")
    return {
        "name": name,
        "provider": entry.provider,
        "version": entry.version,
        "state": entry.state,
        "tags": sorted(entry.tags) if entry.tags is not None else None,
        "summary": summary or "",
    }


def _print_rows(rows: list[dict[str, Any]], what: str) -> None:
    """Aligned columns, cut to the terminal. A table that measures every cell takes a second over 1,000 losses."""
    cells: list[tuple[str, ...]] = [("name", "provider", "summary", "tags")]
    for row in rows:
        state = "" if row["state"] in ("discovered", "loaded") else f"[{row['state']}] "
        tags = "(not loaded)" if row["tags"] is None else " ".join(row["tags"])
        cells.append(tuple(printable(cell) for cell in (row["name"], row["provider"], state + row["summary"], tags)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None  # a pipe has no width
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()[:limit])
    print(f"{len(rows)} {what}")


def _print_parameters(schema: Mapping[str, Any]) -> None:
    lines = []
    for name, part in schema["properties"].items():
        default = f" = {_value(part['default'])}" if "default" in part else ""
        lines.append(f"{name}{default}    {words(part)}")
        if text := part.get("description"):
            width = max(40, shutil.get_terminal_size().columns - 8)
            lines += [f"    {line}" for line in textwrap.wrap(text, width)]
    _print_section("parameters", lines or ["none"])


def _print_section(heading: str, lines: list[str]) -> None:
    print(f"\n{heading}")
    for line in lines:
        print(f"    {printable(line)}")


def _implementation(name: str, needs: Mapping[str, str]) -> str:
    package = needs.get("package")
    here = f", {package} is {'installed' if is_installed(package) else 'not installed'}" if package else ""
    return f"{name}: {needs.get('device') or 'any'} tensors{here}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
