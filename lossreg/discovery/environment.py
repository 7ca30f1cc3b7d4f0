"""Environment variables: LOSSREG_ONLY and LOSSREG_DISABLE list providers or losses; LOSSREG_STRICT=1 raises."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator

from lossreg.messages import did_you_mean, warn_once
from lossreg.registry.entry import LOCAL, Entry

ONLY, DISABLE, STRICT = "LOSSREG_ONLY", "LOSSREG_DISABLE", "LOSSREG_STRICT"

_MAX_UNKNOWN = 10  # names in a warning


def with_states(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Disable the entries that the environment excludes."""
    return map(with_state, entries) if os.environ.get(ONLY) or os.environ.get(DISABLE) else iter(entries)


def with_state(entry: Entry) -> Entry:
    """Return the entry, disabled if the environment excludes it."""
    only, disabled = names_in(ONLY), names_in(DISABLE)
    names = names_of(entry)
    if only and not names & only:
        reason = f"LOSSREG_ONLY={os.environ[ONLY]} leaves it out"
    elif names & disabled:
        reason = f"LOSSREG_DISABLE={os.environ[DISABLE]} names it"
    else:
        return entry
    return entry._replace(state="disabled", reason=reason)


def names_in(variable: str) -> set[str]:
    """Return the names in a variable, which are separated by commas."""
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def names_of(entry: Entry) -> set[str]:
    """Return the names that disable an entry: of its provider, and its own."""
    return {entry.provider, entry.full_name, *entry.spellings()}


def is_strict() -> bool:
    """Return whether the first failure is raised instead of being kept."""
    value = os.environ.get(STRICT, "")
    if value not in ("", "0", "1"):
        text = f"LOSSREG_STRICT={value!r:.80} in the environment is neither '1' nor '0', and counts as '0'"
        warn_once((STRICT, value), text)
    return value == "1"


def warn_unknown(names: Callable[[], Collection[str]]) -> None:
    """Warn about names in LOSSREG_ONLY and LOSSREG_DISABLE that match nothing. Most of them are mistyped.

    Args:
        names: returns all known names. Called only if one of the variables is set.
    """
    given = {variable: names_in(variable) for variable in (ONLY, DISABLE)}
    if not any(given.values()):
        return
    known = {LOCAL, *names()}  # classes may be registered later
    for variable, each in given.items():
        if unknown := each.difference(known):
            value = os.environ[variable]
            text = f"{variable}={value!r:.200} in the environment: no provider or loss is called "
            warn_once((variable, value), text + unknown_names(unknown, known))


def unknown_names(names: Collection[str], known: Collection[str]) -> str:
    """Write `'dicee' (did you mean 'dice'?) or 'zzz'`."""
    hints = [(name, did_you_mean(name, known)) for name in sorted(names)[:_MAX_UNKNOWN]]
    return " or ".join(f"{name!r:.80} ({hint})" if hint else f"{name!r:.80}" for name, hint in hints)
