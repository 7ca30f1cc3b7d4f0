"""Registry: names, aliases and tags of classes. It is not specific to losses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar, overload

from lossreg.registry.entry import Entry, check_name, check_target, declare, target_of
from lossreg.registry.lookup import LookUp
from lossreg.registry.merging import remove
from lossreg.registry.metadata import DECORATED, LAZY, keywords
from lossreg.registry.snapshot import Draft
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
        restrict: called with an entry. Returns it, or its copy with the state "disabled" and the reason.
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
        override: bool = False,
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
        override: bool = False,
        **metadata: Any,
    ) -> C | Callable[[C], C]:
        """Decorate a class, bare or called: `@register`, `@register("dice", tags=["overlap"])`.

        The same module:qualname registered again under the same name (a reload, a notebook cell, manifest and
        decorator both) is one entry with the newer class. Another class of the same name in code is refused.
        The name comes before those of installed packages. A name that lossreg's own packages own, such as "dice", is
        then ambiguous: write "local/dice". `unregister` undoes it.

        Args:
            name: the name in configs; the class's `__name__` by default.
            tags, aliases: for `find`, and further names.
            override: take the name, from a class registered in code and from lossreg's own packages alike.
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
            entry = draft._replace(name=own, target=target_of(cls), state="loaded", cls=cls, owns_name=override)
            self._add(entry, is_decorated=True)
            return cls

        return decorate

    def register_lazy(
        self,
        name: str,
        target: str,
        *,
        tags: Iterable[str] | None = None,
        aliases: Iterable[str] = (),
        override: bool = False,
        **metadata: Any,
    ) -> Undo:
        """Register "module:qualname" under a name, and return a function that undoes it. `get` imports the target.

        `metadata`: as in a manifest; beside the keywords of `register` formula, shapes, source and parameters.
        """
        known = keywords("register_lazy", metadata, LAZY)
        return self.add(declare(name, check_target(target), tags, aliases, known, owns_name=override))

    def add(self, entry: Entry) -> Undo:
        """Register an entry, and return a function that undoes it, unless the entry has been removed since."""
        return self._add_made(entry)[1]

    def unregister(self, name: str) -> None:
        """Remove an entry with all its names."""
        self.entry(name)  # raises for an unknown name

        def removed(draft: Draft) -> None:
            entry = draft.before.find(name).winner
            if entry is None:
                raise self._not_found(name)  # another thread was first
            remove(draft, entry)

        self._table.change(removed)

    @contextmanager
    def scope(self) -> Iterator[Self]:
        """Undo at the end, in all threads, everything that is registered, loaded or removed inside. For tests.

        The declarations in modules that are imported inside stay: Python will not run their decorators again.
        """
        self._scan.ready()
        before, imported = self._table.snapshot, {*sys.modules}
        try:
            yield self
        finally:
            self._table.replace(before, lambda entry: _module(entry) not in imported)

    def __reduce__(self) -> tuple[Callable[[str, str], object], tuple[str, str]]:
        """Pickle and copy by reference: the module that holds the registry is imported where it is unpickled.

        Raises:
            TypeError: no imported module holds the registry under a name.
        """
        for module in (self._module, *sys.modules):
            for name, value in [*getattr(sys.modules.get(module), "__dict__", {}).items()]:
                if value is self:
                    return _held, (module, name)
        raise TypeError(f"the registry {self.name!r} cannot be pickled: assign it to a module's global variable")


def _held(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


def _module(entry: Entry) -> str:
    return entry.target.partition(":")[0]
