"""`lossreg doctor`: a report on the installed providers, hooks and extras."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from lossreg.cli.columns import aligned, line
from lossreg.messages import printable

if TYPE_CHECKING:
    from lossreg.authoring.doctor import Provider

HEADINGS = ("provider", "from", "entries", "state", "import")
WIDTHS = (14, 32, 7, 8, 7)  # fixed, because each provider is printed as soon as it is examined
NUMBERS = (2, 4)


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("doctor")(doctor)


def doctor(
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 also if a library that a provider describes is broken.")
    ] = False,
) -> None:
    """Import every provider and print its version, state, import time and errors.

    Exit 0 if there is nothing to mend, or if only the library that a provider describes is missing or broken.
    Exit 1 if torch cannot be imported, a provider is broken, its manifest differs from its code, or a declaration or a
    hook cannot be read; with --strict also if a library is broken.
    """
    from lossreg.authoring.doctor import BROKEN, failures, notes
    from lossreg.authoring.package_modules import REINSTALL_TORCH, torch_error

    error = torch_error()
    if error:
        print(printable(f"torch cannot be imported, and every loss needs it: {' '.join(error.split())}"))
        print(f"{REINSTALL_TORCH}\n")
    providers = list(_print_providers())
    wrong = list(failures())
    for text in (*wrong, *notes(providers)):
        print(printable(text))
    _print_environment()
    broken = bool(error or wrong) or any(found.broken for found in providers)
    libraries = [found.name for found in providers if found.state in BROKEN and not found.broken]
    if libraries:
        print(f"\nproviders of broken or changed libraries, which affect only their own losses: {', '.join(libraries)}")
    failed = broken or (strict and bool(libraries))
    print("\nproblems found: see above" if failed else f"\nno {'other ' if libraries else ''}problems found")
    if failed:
        raise typer.Exit(1)


def _print_providers() -> Iterator[Provider]:
    """Print each provider as soon as it is examined, and yield it."""
    from lossreg.authoring.doctor import providers

    print(line(HEADINGS, WIDTHS, numbers=NUMBERS))
    for found in providers():
        cells = (found.name, found.distribution, str(found.losses), found.state, f"{found.seconds:.2f}s")
        print(line([printable(cell) for cell in cells], WIDTHS, numbers=NUMBERS))
        for problem in found.problems:
            print(textwrap.indent("\n".join(map(printable, problem.splitlines())), "    "))
        yield found


def _print_environment() -> None:
    """Print versions and devices, and the extras that are not installed."""
    from lossreg.authoring.doctor import environment, extras

    print("\n" + "\n".join(aligned(environment())))
    absent = aligned((extra.install, ", ".join(extra.lacking)) for extra in extras())
    if absent:
        print("\nextras that are not installed:\n" + textwrap.indent("\n".join(absent), "    "))
