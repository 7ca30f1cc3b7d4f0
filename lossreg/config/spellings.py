"""Spellings: the names by which a config can write each entry."""

from __future__ import annotations

from typing import NamedTuple

from lossreg.config.resolution import registry_of
from lossreg.registry.entry import Entry


class Spellings(NamedTuple):
    """The names of an entry: short ones, provider/name, and short ones that need the provider beside them."""

    short: list[str]
    full: list[str]
    tied: list[str]

    @property
    def free(self) -> list[str]:
        """Return the names that need no provider beside them."""
        return self.short + self.full


class Names:
    """All names of a registry and the entry of each."""

    def __init__(self, role: str) -> None:
        registry = registry_of(role)
        self._entries: dict[str, str] = {}  # the full name of each name's entry; empty if several tie
        for entry in registry.entries():
            for short in entry.spellings():
                for name in (short, f"{entry.provider}/{short}"):
                    if name not in self._entries:
                        self._entries[name] = registry.entry(name).full_name if name in registry else ""

    def of(self, entry: Entry) -> Spellings:
        """Return the names of one entry."""
        spellings = list(dict.fromkeys(entry.spellings()))
        reached = {name for name in spellings if self._entries.get(name) == entry.full_name}
        full = {name: f"{entry.provider}/{name}" for name in spellings}
        full = {name: path for name, path in full.items() if self._entries.get(path) == entry.full_name}
        tied = [name for name in spellings if name not in reached and name in full]
        return Spellings([name for name in spellings if name in reached], list(full.values()), tied)
