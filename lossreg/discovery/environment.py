"""Switches in the environment: LOSSREG_ONLY and LOSSREG_DISABLE name providers or losses, LOSSREG_STRICT=1 raises."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable, Iterator

from lossreg.registry.entry import Entry

ONLY, DISABLE, STRICT = "LOSSREG_ONLY", "LOSSREG_DISABLE", "LOSSREG_STRICT"

_warned: set[object] = set()  # what has been said once in this process


def switched(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries as the environment allows them."""
    only, disabled = names_in(ONLY), names_in(DISABLE)
    if not only and not disabled:
        yield from entries
        return
    for entry in entries:
        names = {entry.provider, entry.full_name, *entry.spellings()}
        reason = ""
        if only and not names & only:
            reason = f"LOSSREG_ONLY={os.environ[ONLY]} leaves it out"
        elif names & disabled:
            reason = f"LOSSREG_DISABLE={os.environ[DISABLE]} names it"
        yield entry._replace(state="disabled", reason=reason) if reason else entry


def names_in(variable: str) -> set[str]:
    """What is listed in a variable, separated by commas."""
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def is_strict() -> bool:
    """Whether the first failure is to be raised, not kept."""
    value = os.environ.get(STRICT, "")
    if value not in ("", "0", "1"):
        text = f"LOSSREG_STRICT={value!r:.80}, set in the environment, is neither '1' nor '0', and counts as '0'"
        warn_once((STRICT, value), text)
    return value == "1"


def with_near(names: Collection[str], known: Collection[str]) -> str:
    """`'dicee'; did you mean 'dice'?`"""
    from difflib import get_close_matches

    close = sorted({near for name in sorted(names)[:10] for near in get_close_matches(name, known, n=2)})
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    return " or ".join(f"{name!r:.80}" for name in sorted(names)[:10]) + hint


def warn_once(key: object, message: str) -> None:
    """Warn, unless that was said before in this process."""
    if key not in _warned:
        _warned.add(key)
        warnings.warn(message, stacklevel=2)
