"""`lossreg why`: the entry that a name leads to, all candidates, and the rule that chose. Nothing is imported."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from lossreg.cli.columns import aligned
from lossreg.messages import one_line, printable
from lossreg.registries import losses
from lossreg.registry.entry import Entry, Failure
from lossreg.registry.rules import Resolution, Rule

RULES: dict[Rule, str] = {
    "full name": "provider/name always leads to that loss",
    "alias": "provider/alias always leads to the loss of that provider",
    "only": "it is the only candidate",
    "same class": "all candidates are the same class",
    "owned": "first-party losses own their short names",
    "override": "it is registered with override=True",
    "in code": "losses registered in code precede those of installed packages",
    "enabled": "all other candidates are disabled",
    "resolved": "a hook found it",
    "tie": "several candidates, and none of them owns the name; write provider/name",
}
STATES = {
    "discovered": "not imported yet; its first use imports it",
    "loaded": "imported",
    "broken": "its import failed; the next use tries again",
    "disabled": "disabled",
    "missing": "its library is not installed",
}


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("why")(why)


def why(name: Annotated[str, typer.Argument(help="A name, an alias or provider/name.")]) -> None:
    """Explain where a name leads: all candidates, the chosen one, and the rule."""
    resolution = losses.explain(name)
    _print(name, resolution, [failure for failure in losses.failures if _mentions(failure, name)])
    if resolution.winner is None:
        losses.entry(name)  # raises the error of a tie, with the names to write instead


def _mentions(failure: Failure, name: str) -> bool:
    """Return whether a failure has the name as a whole word: one about `focal_tversky` does not concern `focal`."""
    short = re.escape(name.rpartition("/")[2])
    return re.search(rf"(?<![\w-]){short}(?![\w-])", f"{failure.source}\n{failure.error}") is not None


def _print(name: str, resolution: Resolution, failures: list[Failure]) -> None:
    winner, rule, candidates = resolution
    leads = "nowhere" if winner is None else f"{winner.full_name}  ({STATES[winner.state]})"
    print(printable(f"{name} -> {leads}"))
    print(f"rule: {RULES[rule]}")
    if winner is not None and name not in (winner.name, winner.full_name):
        print(printable(f"alias of {winner.name}"))
    print("\ncandidates")
    ordered = sorted(candidates, key=lambda entry: (entry is not winner, entry.full_name))
    for line, entry in zip(aligned([_row(entry, name) for entry in ordered]), ordered, strict=True):
        print(f"    {line}")
        if entry.reason:
            print(f"        {printable(entry.reason)}")
        if entry.error is not None:
            print(f"        {one_line(entry.error)}")
    if failures:
        print("\nnot read")
        for source, _, error in failures:
            print(f"    {printable(source)}: {one_line(error)}")


def _row(entry: Entry, name: str) -> list[str]:
    claim = "name" if entry.name == name.rpartition("/")[2] else "alias"
    origin = f"{entry.distribution} {entry.version}" if entry.distribution else "registered in code"
    return [entry.full_name, claim, entry.state, entry.target, origin]
