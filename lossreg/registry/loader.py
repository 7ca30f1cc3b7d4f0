"""Loader: imports the classes of entries, and publishes the results. No lock is held while importing.

A module that is being imported may itself register; with a lock, two threads could block each other for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from lossreg.errors import MissingLibraryError, ProviderError, WrongBaseClassError
from lossreg.registry.entry import Entry
from lossreg.registry.importing import check_base, load
from lossreg.registry.snapshot import Snapshot
from lossreg.registry.table import Table


class Loader:
    """The imports of one registry.

    Args:
        table: the entries of the registry.
        base_class: the base of every class, as a class or as "module:qualname".
        name: of the registry, for messages.
    """

    def __init__(self, table: Table, base_class: type | str, name: str) -> None:
        self._table = table
        self._base_class = base_class
        self._name = name

    def check(self, cls: object, name: str) -> None:
        """Check that a class is derived from the base class."""
        check_base(cls, self._base_class, name, self._name)

    def load(self, entry: Entry) -> type:
        """Import the class of an entry and publish it, or publish the error and raise it.

        The first thread to load an entry wins: the others return its class.
        """
        if entry.cls is not None:
            return entry.cls
        loaded = self._imported(entry)
        self._table.change(lambda snapshot: _published(snapshot, [loaded]))
        if loaded.error is not None:
            raise loaded.error
        current = self._table.snapshot.entry(entry.full_name)
        cls = loaded.cls if current is None or current.cls is None else current.cls
        assert cls is not None  # it was imported without an error
        return cls

    def load_untagged(self, entries: Iterable[Entry]) -> None:
        """Import the entries with unknown tags, and publish all of them at once. Failures are kept on the entries."""
        untagged = [entry for entry in entries if entry.tags is None and entry.state in ("discovered", "loaded")]
        if untagged:
            loaded = [self._imported(entry) for entry in untagged]
            self._table.change(lambda snapshot: _tagged(_published(snapshot, loaded), loaded))

    def _imported(self, entry: Entry) -> Entry:
        """Return the entry with its class, or with the error of its import."""
        if entry.cls is not None:
            return entry
        try:
            return entry.with_class(load(entry, lambda cls: self.check(cls, entry.full_name)))
        except MissingLibraryError as error:
            return entry._replace(state="missing", error=error)
        except (ProviderError, WrongBaseClassError) as error:
            return entry._replace(state="broken", error=error)


def _published(snapshot: Snapshot, loaded: Sequence[Entry]) -> Snapshot:
    """Return the snapshot with classes and errors merged in. A removed entry stays removed, a loaded one loaded."""
    for entry in loaded:
        if entry.state == "broken":
            snapshot = snapshot.with_entries(_half_imported(snapshot, entry))
    found = [(snapshot.entry(entry.full_name), entry) for entry in loaded]
    return snapshot.with_entries(
        current._replace(state=entry.state, cls=entry.cls, error=entry.error)
        for current, entry in found
        if current is not None and current.cls is None
    )


def _tagged(snapshot: Snapshot, loaded: Sequence[Entry]) -> Snapshot:
    """Return the snapshot with no tags, instead of unknown ones, for loaded classes that no decorator tagged."""
    found = [snapshot.entry(entry.full_name) for entry in loaded if entry.cls is not None]
    return snapshot.with_entries(e._replace(tags=frozenset()) for e in found if e is not None and e.tags is None)


def _half_imported(snapshot: Snapshot, failed: Entry) -> list[Entry]:
    """Return, as broken, the entries that a module and its package registered before its import failed.

    Python removes a module that fails from sys.modules, and the others of a circle with it.
    """
    module = _module(failed)
    if module in sys.modules:
        return []
    return [
        entry._replace(cls=None, state="broken", error=failed.error)
        for entry in snapshot.entries.values()
        if entry.cls is not None
        and _module(entry) not in sys.modules
        and _module(entry).partition(".")[0] == module.partition(".")[0]
    ]


def _module(entry: Entry) -> str:
    return entry.target.partition(":")[0]
