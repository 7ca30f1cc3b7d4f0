"""Loader: imports the classes of entries, and publishes the results. No lock is held while importing.

A module that is being imported may itself register; with a lock, two threads could block each other for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from lossreg.errors import MissingLibraryError, ProviderError, WrongBaseClassError
from lossreg.registry import merging
from lossreg.registry.entry import Entry
from lossreg.registry.importing import check_base, find_imported, is_importing, load
from lossreg.registry.snapshot import Draft
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
        self._publish([loaded])
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
            self._publish(loaded, tagged=True)

    def settle(self, entry: Entry, declared: Iterable[str]) -> bool:
        """Find out whether a decorated class is one that its package declares by a re-export. Nothing is imported.

        Args:
            declared: provider/name of the entries of its package.
        Returns:
            Whether its package is imported completely, so that the answer is final.
        """
        for full_name in declared:
            known = self._table.snapshot.entry(full_name)
            if known is not None and known.cls is None and find_imported(known.target) is entry.cls:
                self._publish([known.with_class(entry.cls)])
        return not is_importing(entry.package)

    def _publish(self, loaded: list[Entry], *, tagged: bool = False) -> None:
        def published(draft: Draft) -> None:
            for entry in loaded:
                if entry.state == "broken":
                    self._take_back(draft, entry, entry.error)
                merging.publish(draft, entry, self._table.restrict)
                current = draft.entry(entry.full_name)
                if tagged and current is not None and current.cls is not None and current.tags is None:
                    draft.put(current._replace(tags=frozenset()))  # no decorator tagged it

        self._table.change(published)

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
        except BaseException:  # Ctrl-C: the next look-up imports the module again
            self._table.change(lambda draft: self._take_back(draft, entry, None))
            raise

    def _take_back(self, draft: Draft, failed: Entry, error: BaseException | None) -> None:
        """Take back what a module and its package registered before its import failed.

        Python removes a module that fails from sys.modules, and the others of a circle with it.
        """
        if failed.target.partition(":")[0] in sys.modules:
            return
        others = [each for each in self._table.snapshot.entries.values() if each.package == failed.package]
        merging.take_back(draft, others, lambda module: module not in sys.modules, error)
