"""Registry: names, aliases and tags of classes. It is not specific to losses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar, overload

from lossreg.registry.entry import Entry, check_name, check_target, declare, target_of
from lossreg.registry.lookup import LookUp
from lossreg.registry.metadata import DECORATED, LAZY, keywords
from lossreg.registry.snapshot import Snapshot
from lossreg.registry.table import Undo

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(LookUp[T]):
    """Classes by name, each known before it is imported.

    It is a Mapping from names to classes: see `get`, `list` and `find`.

    Args:
        base_class: the base of every registered class. As "module:qualname" it is imported only with a target.
        name: of the registry, shown in messages.
        kind: of an entry, such as "loss", shown in messages.
        discover: returns the entries of installed packages. Called once, before the first look-up.
        resolve: called with an unknown name. Returns its entry, or a hint for the error.
    """

    @overload
    def register(self, name: C) -> C: ...
    @overload
    def register(
        self,
        name: str | None = None,
        *,
        tags: Iterable[str] | None = (),
        aliases: Iterable[str] = (),
        contract: Mapping[str, object] | None = None,
        summary: str | None = None,
        family: str | None = None,
        example: Mapping[str, object] | None = None,
        renamed: Mapping[str, str] | None = None,
    ) -> Callable[[C], C]: ...

    def register(
        self,
        name: str | C | None = None,
        *,
        tags: Iterable[str] | None = (),
        aliases: Iterable[str] = (),
        **metadata: Any,
    ) -> C | Callable[[C], C]:
        """Decorate a class, bare or called: `@register`, `@register("dice", tags=["overlap"])`.

        The same module:qualname registered again (a reload, a notebook cell, manifest and decorator both) is one entry
        with the newer class. Another class of the same name is refused. `unregister` undoes it.

        Args:
            name: the name in configs; the class's `__name__` by default.
            tags, aliases: for `find`, and further names.
            metadata: contract, summary, family, example and renamed, as in a manifest.

        Raises:
            WrongBaseClassError: the class is not derived from the base class.
            ConflictError: a name or alias is taken.
            InvalidNameError: a name, alias or tag cannot be typed in a config.
            TypeError, ValueError: an unknown keyword, or metadata of another kind.
        """
        if name is not None and not isinstance(name, str):
            return self.register()(name)
        known = keywords("register", metadata, DECORATED)
        draft = declare("unnamed" if name is None else name, "", tags or (), aliases, known)

        def decorate(cls: C) -> C:
            self._loader.check(cls, str(getattr(cls, "__name__", cls)) if name is None else name)
            own = check_name(cls.__name__) if name is None else name
            entry = draft._replace(name=own, target=target_of(cls), state="loaded", cls=cls)
            self._ready()
            self._table.add(entry, declaration=entry)
            return cls

        return decorate

    def register_lazy(
        self,
        name: str,
        target: str,
        *,
        tags: Iterable[str] | None = None,
        aliases: Iterable[str] = (),
        **metadata: Any,
    ) -> Undo:
        """Register "module:qualname" under a name, and return a function that undoes it. `get` imports the target.

        `metadata`: as in a manifest; beside the keywords of `register` formula, shapes, source and parameters.
        """
        known = keywords("register_lazy", metadata, LAZY)
        return self.add(declare(name, check_target(target), tags, aliases, known))

    def add(self, entry: Entry) -> Undo:
        """Register an entry, and return a function that undoes it, unless the entry has been removed since."""
        self._ready()
        return self._table.add(entry)

    def unregister(self, name: str) -> None:
        """Remove an entry with all its names."""
        entry = self.entry(name)

        def without(snapshot: Snapshot) -> Snapshot:
            if snapshot.entry(entry.full_name) is None:
                raise self._not_found(name)  # another thread was first
            return snapshot.without(entry)

        self._table.change(without)

    @contextmanager
    def scope(self) -> Iterator[Self]:
        """Undo at the end, in all threads, everything that is registered, loaded or removed inside. For tests.

        The declarations in modules that are imported inside stay: Python will not run their decorators again.
        """
        self._ready()
        before, imported = self._table.snapshot, {*sys.modules}
        try:
            yield self
        finally:
            self._table.change(lambda after: before.with_declarations(_declared_outside(imported, after)))


def _declared_outside(modules: Collection[str], snapshot: Snapshot) -> list[Entry]:
    return [entry for target, entry in snapshot.declarations.items() if target.partition(":")[0] not in modules]
