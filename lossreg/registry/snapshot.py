"""Snapshot: an immutable table of entries. A change makes a new one, by a Draft."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from lossreg.registry.entry import LOCAL, Entry, target_of
from lossreg.registry.layers import Edits, Layers
from lossreg.registry.rules import Resolution, resolve

Fulls = tuple[str, ...]  # provider/name of several entries, sorted
Parts = tuple[Entry, ...]
Store = Layers[Entry] | Edits[Entry]
Lists = Layers[Parts] | Edits[Parts]
Index = Layers[Fulls] | Edits[Fulls]


class _Tables:
    """Entries by provider/name, and the names and targets that lead to them.

    An entry is merged of its parts: the declarations of its class, in the order they came.
    """

    def __init__(self, entries: Store, parts: Lists, claims: Index, targets: Index, declarations: Lists) -> None:
        self._entries = entries  # by provider/name
        self._parts = parts  # by provider/name
        self._claims = claims  # by short name or alias
        self._targets = targets  # by module:qualname
        self._declarations = declarations  # by module:qualname

    def entry(self, full_name: str) -> Entry | None:
        """Return the entry of a provider/name."""
        return self._entries.get(full_name)

    def parts(self, full_name: str) -> Parts:
        """Return the declarations that an entry is merged of."""
        return self._parts.get(full_name) or ()

    def same_target(self, target: str) -> list[Entry]:
        """Return the entries that lead to this module:qualname."""
        return self._known(self._targets.get(target))

    def claimants(self, spelling: str) -> list[Entry]:
        """Return the entries that claim a short name or alias, by provider/name."""
        return self._known(self._claims.get(spelling))

    def _known(self, fulls: Fulls | None) -> list[Entry]:
        found = map(self._entries.get, fulls or ())
        return [entry for entry in found if entry is not None]


class Snapshot(_Tables):
    """The entries at one moment. It is never changed, so that readers take no lock."""

    _entries: Layers[Entry]
    _parts: Layers[Parts]
    _claims: Layers[Fulls]
    _targets: Layers[Fulls]
    _declarations: Layers[Parts]

    def __init__(self, *tables: Layers[Entry] | Layers[Parts] | Layers[Fulls]) -> None:
        super().__init__(*(tables or [Layers() for _ in range(5)]))
        self.found: dict[str, Resolution] = {}  # by names that were looked up: 0.1 microseconds in place of 4

    def find(self, name: str) -> Resolution:
        """Resolve a name by the rules."""
        found = self.found.get(name)
        if found is None:
            provider, slash, short = name.rpartition("/")
            candidates = [entry for entry in self.claimants(short) if not slash or entry.provider == provider]
            found = resolve(name, candidates, lambda entry: self._had_before_import(entry, short))
            if found.candidates:
                self.found[name] = found
        return found

    def _had_before_import(self, entry: Entry, spelling: str) -> bool:
        return entry.provider == LOCAL or spelling in self.parts(entry.full_name)[0].spellings()

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Return every entry by its provider/name."""
        return self._entries.merged()

    @cached_property
    def providers(self) -> frozenset[str]:
        """Return the providers of all entries."""
        return frozenset(entry.provider for entry in self.entries.values())

    @property
    def declarations(self) -> Parts:
        """Return the entries that decorators declared, unmerged: a manifest's metadata wins in `entries`."""
        return tuple(entry for parts in self._declarations.merged().values() for entry in parts)

    @cached_property
    def names(self) -> dict[str, Entry]:
        """Return every entry once, sorted: by its short name where that leads to it, by provider/name otherwise."""
        claims = self._claims.merged()
        shown = {}
        for full, entry in self.entries.items():
            is_short = len(claims[entry.name]) == 1 or self.find(entry.name).winner is entry
            shown[entry.name if is_short else full] = entry
        return dict(sorted(shown.items()))

    def spellings(self) -> list[str]:
        """Return every name that leads anywhere, for suggestions."""
        return [*self._claims.merged(), *self.entries]


class Draft(_Tables):
    """A snapshot that is being made."""

    _entries: Edits[Entry]
    _parts: Edits[Parts]
    _claims: Edits[Fulls]
    _targets: Edits[Fulls]
    _declarations: Edits[Parts]

    def __init__(self, before: Snapshot) -> None:
        tables = (before._entries, before._parts, before._claims, before._targets, before._declarations)
        super().__init__(*map(Edits, tables))  # type: ignore[arg-type]
        self.before = before

    def snapshot(self) -> Snapshot:
        """Return the new snapshot."""
        tables = (self._entries, self._parts, self._claims, self._targets, self._declarations)
        return Snapshot(*(table.made() for table in tables))

    def put(self, entry: Entry, parts: Parts = ()) -> None:
        """Add an entry, or replace that of its provider/name. Its parts stay if none are given."""
        full = entry.full_name
        self._parts.set(full, parts or self.parts(full) or (entry,))
        self._index(full, self.entry(full), entry)
        self._entries.set(full, entry)

    def drop(self, full_name: str) -> None:
        """Remove an entry with its parts."""
        self._index(full_name, self.entry(full_name), None)
        self._entries.set(full_name, None)
        self._parts.set(full_name, None)

    def declare(self, entry: Entry) -> None:
        """Keep what a decorator declared, in place of what it declared under the same name before."""
        known = self._declarations.get(entry.target) or ()
        self._declarations.set(entry.target, (*(each for each in known if each.name != entry.name), entry))

    def undeclare(self, parts: Iterable[Entry]) -> None:
        """Forget declarations."""
        for part in parts:
            known = self._declarations.get(part.target) or ()
            self._declarations.set(part.target, tuple(each for each in known if each is not part) or None)

    def _index(self, full: str, old: Entry | None, new: Entry | None) -> None:
        for index, keys in ((self._claims, Entry.spellings), (self._targets, _targets_of)):
            for key in {*(keys(old) if old else ())} ^ {*(keys(new) if new else ())}:
                index.set(key, tuple(sorted({*(index.get(key) or ())} ^ {full})) or None)


def _targets_of(entry: Entry) -> tuple[str, ...]:
    """Return the target, and that of the class where the first is a re-export."""
    return (entry.target,) if entry.cls is None else (entry.target, target_of(entry.cls))
