"""Rules: which of the entries that claim a name it leads to. They depend on declarations alone, never on imports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from lossreg.registry.entry import LOCAL, Entry

Rule = Literal[
    "full name",
    "alias",
    "only",
    "override",
    "same class",
    "owned",
    "in code",
    "enabled",
    "resolved",
    "tie",
    "unknown",
]


class Resolution(NamedTuple):
    """The entry that a name leads to, the rule that chose it, and the candidates: every entry that claims the name.

    Without a winner the rule is "tie", or "unknown" where there are no candidates.
    """

    winner: Entry | None
    rule: Rule
    candidates: tuple[Entry, ...]


def resolve(name: str, candidates: Sequence[Entry], known: Callable[[Entry], bool]) -> Resolution:
    """Choose by the first of RULES that chooses any entry. It is a tie if these are several classes.

    Args:
        candidates: sorted by provider/name.
        known: returns whether an entry had this name before its class was imported.
    """
    if not candidates:
        return Resolution(None, "unknown", ())
    found = _undeclared_last([entry for entry in candidates if known(entry)] or [*candidates])
    rule, chosen = next((rule, chosen) for rule, choose in RULES if (chosen := choose(name, found)))
    is_one = _is_one_class(chosen)
    return Resolution(chosen[0] if is_one else None, rule if is_one else "tie", tuple(candidates))


def _undeclared_last(found: list[Entry]) -> list[Entry]:
    """Leave out what a package registers in code where the same package declares the name, for another class or not."""
    declaring = {entry.package for entry in found if entry.provider != LOCAL}
    return [entry for entry in found if entry.provider != LOCAL or entry.package not in declaring]


def _is_one_class(found: Sequence[Entry]) -> bool:
    classes = {entry.cls for entry in found if entry.cls is not None}
    return len({entry.target for entry in found}) == 1 and len(classes) <= 1


def _enabled(found: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in found if entry.state != "disabled"] or [*found]


def _local(found: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in found if entry.provider == LOCAL and entry.state != "disabled"]


def _override(found: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in _local(found) if entry.owns_name]


def _owned(found: Sequence[Entry]) -> list[Entry]:
    """Return the first-party entry, and those in code that claim its name as well: nobody meant both."""
    owners = [entry for entry in found if entry.owns_name]
    return owners and ([entry for entry in owners if entry.state != "disabled"] + _local(found) or owners)


def _same_class(found: Sequence[Entry]) -> list[Entry]:
    return (_owned(found) or _local(found) or _enabled(found)) if _is_one_class(found) else []


# Tried in order over a name and its candidates.
RULES: tuple[tuple[Rule, Callable[[str, list[Entry]], list[Entry]]], ...] = (
    ("full name", lambda name, found: [entry for entry in found if entry.full_name == name]),
    ("alias", lambda name, found: found if "/" in name and len(found) == 1 else []),
    ("only", lambda name, found: found if len(found) == 1 else []),
    ("override", lambda name, found: _override(found)),
    ("same class", lambda name, found: _same_class(found)),
    ("owned", lambda name, found: _owned(found)),
    ("in code", lambda name, found: _local(found)),
    ("enabled", lambda name, found: _enabled(found)),
)
