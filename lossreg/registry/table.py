"""Table: the current snapshot of a registry. Readers take it without a lock; writers replace it under a short one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakSet

from lossreg.registry import merging
from lossreg.registry.entry import Entry
from lossreg.registry.snapshot import Draft, Snapshot

Undo = Callable[[], None]
R = TypeVar("R")


class Table:
    """The current snapshot, and the lock of its writers. Nothing is imported while the lock is held.

    Args:
        name: of the registry, for messages.
        restrict: disables an entry that the environment excludes.
    """

    def __init__(self, name: str, restrict: merging.Restrict) -> None:
        self.name = name
        self.restrict = restrict
        self.snapshot = Snapshot()
        self.lock = threading.Lock()
        _tables.add(self)

    def change(self, make: Callable[[Draft], R]) -> R:
        """Let a function change a draft, and publish it. If it raises, nothing changes."""
        with self.lock:
            draft = Draft(self.snapshot)
            result = make(draft)
            self.snapshot = draft.snapshot()
            return result

    def replace(self, before: Snapshot, keep: Callable[[Entry], bool]) -> None:
        """Return to an earlier snapshot, with the later declarations that are to be kept."""
        with self.lock:
            draft = Draft(before)
            for entry in filter(keep, self.snapshot.declarations):
                draft.declare(entry)
            self.snapshot = draft.snapshot()

    def add(self, part: Entry, *, is_decorated: bool = False) -> tuple[Entry, Undo]:
        """Add a declaration, and return its entry and a function that removes the declaration again.

        Args:
            is_decorated: it stands in code, so that a manifest can be made of it.
        """

        def added(draft: Draft) -> Entry:
            entry = merging.add(draft, part, self.name, self.restrict)
            if is_decorated:
                draft.declare(part)
            return entry

        def undo() -> None:
            self.change(lambda draft: merging.undo(draft, part, self.restrict))

        return self.change(added), undo


_tables: WeakSet[Table] = WeakSet()


def _renew_locks() -> None:
    for table in [*_tables]:
        table.lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # another thread may hold a lock while this one forks
    os.register_at_fork(after_in_child=_renew_locks)
