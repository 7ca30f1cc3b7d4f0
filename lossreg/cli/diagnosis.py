"""`lossreg doctor`: everything that may be wrong with what is installed, in one page."""

from __future__ import annotations

import textwrap

import typer

from lossreg.words import printable


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Import every provider and say how it is: version, state, time, errors. Exit 1 if anything is broken."""
    from lossreg.doctor import BROKEN, environment, findings, notes, providers

    broken = False
    print(f"{'provider':<16}{'from':<34}{'entries':>7}  {'state':<12}{'import':>8}")
    for found in providers():
        line = f"{found.name:<16}{found.distribution:<34}{found.losses:>7}  {found.state:<12}{found.seconds:>7.2f}s"
        print(printable(line))
        for problem in found.problems:
            print(textwrap.indent("\n".join(map(printable, problem.splitlines())), "    "))
        broken = broken or found.state in BROKEN
    wrong = list(findings())
    for text in (*wrong, *notes()):
        print(printable(text))
    print()
    for what, value in environment():
        print(printable(f"{what:<20}{value}"))
    print("\nbroken: see above" if broken or wrong else "\nall well")
    if broken or wrong:
        raise typer.Exit(1)
