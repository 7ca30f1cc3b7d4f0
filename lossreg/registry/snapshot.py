"""Snapshot: an immutable table of entries and every way to spell them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

from lossreg.registry.entry import LOCAL, Entry


class Snapshot:
    """Entries by provider/name, and what each spelling leads to. Whoever changes it gets a new one."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}  # by provider/name
        self.claims: dict[str, tuple[str, ...]] = {}  # short name or alias -> every provider/name that claims it
        self.targets: dict[str, tuple[str, ...]] = {}  # module:qualname -> provider/name
        self.classes: dict[str, type] = {}  # every unambiguous spelling of what is loaded

    def put(self, entries: Iterable[Entry]) -> Snapshot:
        """With these entries added, or replaced where provider/name is known."""
        changed = self._copy()
        for entry in entries:
            changed._remove(entry.full_name)
            changed._insert(entry)
        return changed

    def drop(self, entry: Entry) -> Snapshot:
        """Without this entry."""
        changed = self._copy()
        changed._remove(entry.full_name)
        return changed

    def same_target(self, target: str) -> list[Entry]:
        """The entries that lead to this module:qualname."""
        return [self.entries[full] for full in self.targets.get(target, ())]

    def claimants(self, spelling: str) -> list[Entry]:
        """The entries that claim a short name or alias."""
        return [self.entries[full] for full in self.claims.get(spelling, ())]

    def find(self, name: str) -> Entry | list[Entry]:
        """The entry that a name leads to; else the candidates: none, or several that tie."""
        if name in self.entries:
            return self.entries[name]
        provider, slash, short = name.rpartition("/")
        found = self.claimants(short)
        if slash:
            found = [entry for entry in found if entry.provider == provider]
        owners = [entry for entry in found if entry.owns_name]
        enabled = [entry for entry in found if entry.state != "disabled"] or found
        best = owners or _in_code(enabled) or enabled
        if best and len({entry.target for entry in best}) == 1:
            return best[0]
        return best

    @cached_property
    def names(self) -> dict[str, Entry]:
        """Every entry once, sorted: under its short name where that leads to it, provider/name otherwise."""
        shown = {e.name if self.find(e.name) is e else full: e for full, e in self.entries.items()}
        return dict(sorted(shown.items()))

    def spellings(self) -> list[str]:
        """Everything that can be typed, for suggestions."""
        return [*self.claims, *self.entries]

    def _copy(self) -> Snapshot:
        copy = Snapshot()
        copy.entries, copy.claims = dict(self.entries), dict(self.claims)
        copy.targets, copy.classes = dict(self.targets), dict(self.classes)
        return copy

    def _insert(self, entry: Entry) -> None:
        self.entries[entry.full_name] = entry
        self._update(entry, lambda fulls: (*fulls, entry.full_name))

    def _remove(self, full_name: str) -> None:
        entry = self.entries.pop(full_name, None)
        if entry is not None:
            self._update(entry, lambda fulls: tuple(full for full in fulls if full != full_name))

    def _update(self, entry: Entry, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        for index, keys in ((self.targets, (entry.target,)), (self.claims, entry.spellings())):
            for key in keys:
                fulls = change(index.get(key, ()))
                if fulls:
                    index[key] = fulls
                else:
                    index.pop(key, None)
        for short in entry.spellings():
            for spelling in (short, f"{entry.provider}/{short}"):
                found = self.find(spelling)
                if isinstance(found, Entry) and found.cls is not None:
                    self.classes[spelling] = found.cls
                else:
                    self.classes.pop(spelling, None)


def _in_code(found: list[Entry]) -> list[Entry]:
    """What was registered in code comes before losses that providers of other libraries describe by the hundred."""
    own = [entry for entry in found if entry.requires is None]
    return own if all(entry.provider == LOCAL for entry in own) else []
