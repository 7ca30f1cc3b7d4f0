"""Table: the current snapshot of a registry. Readers take it without a lock; writers replace it under a short one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from weakref import WeakSet

from lossreg.errors import ConflictError
from lossreg.registry.entry import Entry
from lossreg.registry.snapshot import Snapshot

Undo = Callable[[], None]


class Table:
    """The current snapshot, and the lock of its writers. Nothing is imported while the lock is held.

    Args:
        name: of the registry, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.snapshot = Snapshot()
        self.lock = threading.Lock()
        _tables.add(self)

    def change(self, make: Callable[[Snapshot], Snapshot]) -> None:
        """Replace the snapshot by one made of it. If `make` raises, nothing changes."""
        with self.lock:
            self.snapshot = make(self.snapshot)

    def add(self, entry: Entry, declaration: Entry | None = None) -> Undo:
        """Add an entry, or merge it into the entries of the same class, and return a function that undoes it.

        Args:
            declaration: the entry as a decorator declared it.

        Raises:
            ConflictError: a name of the entry is taken by another class.
        """
        with self.lock:
            before = self.snapshot.same_target(entry.target)
            self._refuse_conflicts(entry, before)
            # Two providers may declare one class: both of their entries get it.
            merged = [known.merge_declaration(entry) for known in before[:1]] or [entry]
            merged += [known.with_class(entry.cls) for known in before[1:]]
            self.snapshot = self.snapshot.with_entries(merged, declaration)
        added = merged[0]

        def reverted(current: Snapshot) -> Snapshot:
            known = current.entry(added.full_name)
            if known is None or known.target != added.target:
                return current
            return current.with_entries(before) if before else current.without(added)

        return lambda: self.change(reverted)

    def _refuse_conflicts(self, entry: Entry, same_class: Iterable[Entry]) -> None:
        taken = {spelling for known in same_class for spelling in known.spellings()}
        for name in [name for name in entry.spellings() if name not in taken]:
            for known in self.snapshot.claimants(name):
                if known.requires is not None and entry.requires is None:
                    continue  # providers of third-party libraries declare hundreds of names, and reserve none of them
                raise ConflictError(
                    f"cannot register {name!r} in {self.name}: it is {known.full_name} ({known.origin});"
                    f" proposed was {entry.origin}. Choose another name, or unregister the other first",
                    name=name,
                    existing=known.target,
                    proposed=entry.target,
                )


_tables: WeakSet[Table] = WeakSet()


def _renew_locks() -> None:
    for table in [*_tables]:
        table.lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # another thread may hold a lock while this one forks
    os.register_at_fork(after_in_child=_renew_locks)
