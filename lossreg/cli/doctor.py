"""`lossreg doctor`: everything that may be wrong with what is installed, in one page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from lossreg.messages import printable

if TYPE_CHECKING:
    from lossreg.authoring.doctor import Provider


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("doctor")(doctor)


def doctor(
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 also where a library that a provider describes is broken.")
    ] = False,
) -> None:
    """Import every provider and say how it is: version, state, time, errors. Exit 1 if a provider is broken."""
    from lossreg.authoring.doctor import BROKEN, findings, notes, torch_error

    if error := torch_error():
        print(printable(f"torch cannot be imported, and every loss needs it: {error}"))
        print("install it again: pip install --force-reinstall torch")
        raise typer.Exit(1)
    providers = list(_print_providers())
    wrong = list(findings())
    for text in (*wrong, *notes(providers)):
        print(printable(text))
    _print_environment()
    broken = bool(wrong) or any(found.broken for found in providers)
    libraries = [found.name for found in providers if found.state in BROKEN and not found.broken]
    if libraries:
        named = ", ".join(libraries)
        print(f"\nlibraries that are broken or not as described, which only their own losses need: {named}")
    failed = broken or (strict and bool(libraries))
    print("\nbroken: see above" if failed else "\nall well" if not libraries else "\nall else is well")
    if failed:
        raise typer.Exit(1)


def _print_providers() -> Iterator[Provider]:
    """Print each provider as soon as it is examined, and yield it."""
    from lossreg.authoring.doctor import providers

    print(f"{'provider':<16}{'from':<34}{'entries':>7}  {'state':<12}{'import':>8}")
    for found in providers():
        line = f"{found.name:<16}{found.distribution:<34}{found.losses:>7}  {found.state:<12}{found.seconds:>7.2f}s"
        print(printable(line))
        for problem in found.problems:
            print(textwrap.indent("\n".join(map(printable, problem.splitlines())), "    "))
        yield found


def _print_environment() -> None:
    """Print what computes, and the extras that are not installed."""
    from lossreg.authoring.doctor import environment, extras

    print()
    for what, value in environment():
        print(printable(f"{what:<20}{value}"))
    absent = list(extras())
    if absent:
        print("\nextras that are not installed:")
    for extra in absent:
        print(printable(f"    {extra.install:<48}{', '.join(extra.lacking)}"))
