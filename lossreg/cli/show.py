"""`lossreg show`: the description of one loss, from its manifest where there is one, else from its class."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from lossreg.discovery.manifest import source_file
from lossreg.messages import is_installed, printable
from lossreg.registries import losses, parts
from lossreg.registry.entry import Entry


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("show")(show)


def show(name: Annotated[str, typer.Argument(help="A name, an alias or provider/name.")]) -> None:
    """Show a loss: formula, parameters, shapes, tags, contract, and its origin."""
    from lossreg.authoring.describe import description

    registry = parts if name in parts and name not in losses else losses
    entry = registry.entry(name)
    about = description(entry, registry)
    print(printable(f"{entry.full_name}  {about.get('summary', '')}".rstrip()))
    if formula := about.get("formula"):
        print("\n" + "\n".join(f"    {printable(line)}" for line in formula.splitlines()))
    _print_section("parameters", _parameters(about["parameters"]) or ["none"])
    for heading in ("shapes", "source"):
        if text := about.get(heading):
            _print_section(heading, text.splitlines())
    _print_section("tags", [", ".join(sorted(registry.entry(name).tags or ())) or "none"])
    if contract := about.get("contract"):
        _print_contract(contract)
    if example := about.get("example"):
        _print_section("the smallest config", [json.dumps({"name": entry.name, "params": example})])
    _print_section("origin", _origin(entry))


def _print_contract(contract: Mapping[str, Any]) -> None:
    plain = {key: value for key, value in contract.items() if key != "implementations"}
    _print_section("contract", [f"{key}: {_value(value)}" for key, value in plain.items()])
    if ways := contract.get("implementations"):
        _print_section("computed by the first that fits", [_implementation(*way) for way in ways.items()])


def _print_section(heading: str, lines: Iterable[str]) -> None:
    print(f"\n{heading}")
    for line in lines:
        print(f"    {printable(line)}")


def _parameters(schema: Mapping[str, Any]) -> list[str]:
    """Return the name, default and type of each parameter, followed by its description."""
    from lossreg.parameters.kinds import kind_of  # which `lossreg list` does not need

    width = max(40, shutil.get_terminal_size().columns - 8)
    lines = []
    for name, part in schema["properties"].items():
        default = f" = {_value(part['default'])}" if "default" in part else ""
        lines.append(f"{name}{default}    {kind_of(part).words()}")
        lines += [f"    {line}" for line in textwrap.wrap(part.get("description", ""), width)]
    return lines


def _implementation(name: str, needs: Mapping[str, str]) -> str:
    package = needs.get("package")
    here = f", {package} is {'installed' if is_installed(package) else 'not installed'}" if package else ""
    return f"{name}: {needs.get('device') or 'any'} tensors{here}"


def _origin(entry: Entry) -> list[str]:
    """Return the provider, the distribution, the other names and the source of an entry."""
    installed = f"{entry.distribution} {entry.version}" if entry.distribution else "registered in code"
    return [
        f"provider {entry.provider} ({installed})",
        *([f"aliases {', '.join(entry.aliases)}"] if entry.aliases else []),
        f"target {entry.target}",
        f"file {source_file(entry.target) or 'unknown'}",
    ]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
