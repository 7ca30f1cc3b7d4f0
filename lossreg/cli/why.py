"""`lossreg why`: who claims a name, who gets it, and by which rule. Nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

import typer

from lossreg.errors import AmbiguousNameError
from lossreg.messages import one_line, printable
from lossreg.registries import losses
from lossreg.registry.entry import Entry, Failure
from lossreg.registry.registry import Registry

Rule = Literal["written", "alias", "only", "same class", "owned", "in code", "tie"]

RULES: dict[Rule, str] = {
    "written": "provider/name always leads to that loss",
    "alias": "provider/alias always leads to the loss of that provider",
    "only": "it is the only claim",
    "same class": "all candidates are the same class",
    "owned": "first-party losses own their short names",
    "in code": "what is registered in code comes before what describes other libraries",
    "tie": "several claim it and none of them owns it, so none gets it",
}
STATES = {
    "discovered": "nothing was imported; its first use imports it",
    "loaded": "imported",
    "broken": "its import failed; the next use tries again",
    "disabled": "switched off",
    "missing": "its library is not installed",
}


class Candidate(NamedTuple):
    """An entry that claims a name: as its "name", or as an "alias"."""

    entry: Entry
    claim: Literal["name", "alias"]


class Explanation(NamedTuple):
    """What leads where: the entry that a name leads to, None at a tie, and the failures that mention the name."""

    name: str
    winner: Entry | None
    rule: Rule
    candidates: tuple[Candidate, ...]
    failures: tuple[Failure, ...]


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("why")(why)


def why(name: Annotated[str, typer.Argument(help="A name, an alias or provider/name.")]) -> None:
    """Explain where a name leads: who claims it, who gets it, and by which rule."""
    explained = explain(losses, name)
    _print(explained)
    if explained.winner is None:
        losses.entry(name)  # raises what to write instead


def explain(registry: Registry[Any], name: str) -> Explanation:
    """Where a name leads, and why.

    Raises:
        NotFoundError: nobody claims it; with near names.
    """
    try:
        winner = registry.entry(name)
    except AmbiguousNameError:
        winner = None
    claims = tuple(_candidates(registry.entries(), name))
    failures = tuple(failure for failure in registry.failures if _mentions(failure, name))
    return Explanation(name, winner, _rule(name, winner, claims), claims, failures)


def _candidates(entries: Iterable[Entry], name: str) -> list[Candidate]:
    """Whoever gets the name first, then by provider."""
    provider, slash, short = name.rpartition("/")
    found = [entry for entry in entries if short in entry.spellings() and (not slash or entry.provider == provider)]
    found.sort(key=lambda entry: (entry.full_name != name, not entry.owns_name, entry.full_name))
    return [Candidate(entry, "name" if entry.name == short else "alias") for entry in found]


def _rule(name: str, winner: Entry | None, candidates: tuple[Candidate, ...]) -> Rule:
    """What `Snapshot.find` went by, told from whom it chose and from whom it could choose."""
    if winner is None:
        return "tie"
    if "/" in name:
        return "written" if name == winner.full_name else "alias"
    if len(candidates) == 1:
        return "only"
    if {each.entry.target for each in candidates} == {winner.target}:
        return "same class"
    return "owned" if winner.owns_name else "in code"


def _mentions(failure: Failure, name: str) -> bool:
    """Whether it names this loss as a whole word: a failure about `focal_tversky` is none about `focal`."""
    short = re.escape(name.rpartition("/")[2])
    return re.search(rf"(?<![\w-]){short}(?![\w-])", f"{failure.source}\n{failure.error}") is not None


def _print(explained: Explanation) -> None:
    name, winner, rule, candidates, failures = explained
    leads = "nowhere" if winner is None else f"{winner.full_name}  ({STATES.get(winner.state, winner.state)})"
    print(printable(f"{name} -> {leads}"))
    print(f"rule: {RULES[rule]}")
    if winner is not None and name not in (winner.name, winner.full_name):
        print(printable(f"alias of {winner.name}"))
    rows = [_row(candidate) for candidate in candidates]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print("\ncandidates")
    for row, (entry, _) in zip(rows, candidates, strict=True):
        print("    " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if entry.reason:
            print(f"        {printable(entry.reason)}")
        if entry.error is not None:
            print(f"        {one_line(entry.error)}")
    if failures:
        print("\nnot read")
        for source, _, error in failures:
            print(f"    {printable(source)}: {one_line(error)}")


def _row(candidate: Candidate) -> list[str]:
    entry, claim = candidate
    origin = f"{entry.distribution} {entry.version}" if entry.distribution else "registered in code"
    return [printable(cell) for cell in (entry.full_name, claim, entry.state, entry.target, origin)]
