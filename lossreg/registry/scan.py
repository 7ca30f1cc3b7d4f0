"""Scan: the entries of installed packages in a registry, and how they meet what code registers."""

from __future__ import annotations

from collections.abc import Callable, Collection

from lossreg.registry.entry import LOCAL, Discovered, Entry
from lossreg.registry.loader import Loader
from lossreg.registry.merging import discover as add_discovered
from lossreg.registry.merging import rediscover
from lossreg.registry.snapshot import Draft
from lossreg.registry.table import Table


class Scan:
    """The installed packages, which are scanned once, before the first look-up.

    Args:
        table: receives their entries.
        loader: of the table.
        discover: makes the scan.
    """

    def __init__(self, table: Table, loader: Loader, discover: Callable[[], Discovered] | None) -> None:
        self._table = table
        self._loader = loader
        self._discover = discover
        self._found = None if discover else Discovered()
        self._remind: Callable[[Collection[str]], None] | None = None
        self._packages: dict[str, list[str]] = {}  # provider/name of the entries of each package
        self._unsettled: set[str] = set()  # decorated classes that their package may declare by a re-export
        self._noted, self._settled = 1, 0  # counts of changes; equal while nothing precedes a look-up

    @property
    def is_done(self) -> bool:
        """Return whether there was a scan."""
        return self._found is not None

    def ready(self) -> Discovered:
        """Scan once. Several threads may scan at the same time; the first to finish publishes."""
        if self._found is not None:
            return self._found
        assert self._discover is not None  # else there is nothing to find
        found = self._discover()

        def published(draft: Draft) -> Discovered:
            if self._found is None:
                for entry in found.entries:
                    add_discovered(draft, entry, self._table.restrict)
                self._keep(found)
            return self._found or found

        return self._table.change(published)

    def again(self) -> None:
        """Scan once more. Loaded classes stay, and what code registered."""
        if self._discover is None:
            return
        before, found = self.ready(), self._discover()

        def changed(draft: Draft) -> None:
            rediscover(draft, before.entries, found.entries, self._table.restrict)
            self._keep(found)

        self._table.change(changed)

    def note(self, entry: Entry) -> None:
        """Keep in mind that code registered a class, whose package may declare it under another target."""
        if entry.provider == LOCAL and entry.cls is not None and entry.package in self._packages:
            self._unsettled.add(entry.full_name)
            self._noted += 1

    def settle(self) -> None:
        """Precede a look-up: find the entries of the noted classes, and warn of unknown names in the environment."""
        if self._settled == self._noted:
            return
        self.ready()
        noted = self._noted  # another thread may note a class meanwhile
        for full_name in [*self._unsettled]:
            entry = self._table.snapshot.entry(full_name)
            declared = self._packages.get(entry.package, ()) if entry is not None else ()
            if entry is None or entry.cls is None or self._loader.settle(entry, declared):
                self._unsettled.discard(full_name)
        if self._remind is not None:
            remind, self._remind = self._remind, None
            remind({*self._table.snapshot.spellings(), *self._table.snapshot.providers})
        if not self._unsettled:
            self._settled = noted

    def _keep(self, found: Discovered) -> None:
        self._found, self._remind, self._noted = found, found.remind, self._noted + 1
        packages: dict[str, list[str]] = {}
        for entry in found.entries:
            packages.setdefault(entry.package, []).append(entry.full_name)
        self._packages = packages
