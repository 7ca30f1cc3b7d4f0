"""Registry: names, aliases, tags, lazy targets, threads. It knows nothing of losses.

Readers take the current snapshot without a lock. Writers change a copy and publish it under a short lock. No lock is
held while importing: a module that is being imported may itself register, and two threads would deadlock.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast, overload
from weakref import WeakMethod

from lossreg.errors import (
    AmbiguousNameError,
    ConflictError,
    InvalidNameError,
    LossregError,
    MissingLibraryError,
    NotFoundError,
    ProviderError,
    WrongBaseClassError,
)
from lossreg.registry import tag_expression as tag_grammar
from lossreg.registry.entry import Discovered, Entry, Failure, check_target, declare, target_of
from lossreg.registry.importing import check_base, import_target, load
from lossreg.registry.not_found import not_found
from lossreg.registry.snapshot import Snapshot

T = TypeVar("T")
C = TypeVar("C", bound=type)
Undo = Callable[[], None]
Names = list[str]  # inside the class, `list` is the method


class Registry(Generic[T]):
    """Classes by name, each known before it is imported.

    Args:
        base_class: what every registered class derives from; as "module:qualname" it is imported only with a target.
        name: shown in messages.
        discover: called once, before the first look, for the entries that installed packages declare.
        resolve: asked for an unknown name; gives its entry, or a hint for the error.
    """

    def __init__(
        self,
        base_class: type[T] | str,
        name: str = "registry",
        *,
        discover: Callable[[], Discovered] | None = None,
        resolve: Callable[[str], Entry | str | None] | None = None,
    ) -> None:
        self.name = name
        self._base_class = base_class
        self._discover = discover
        self._resolve = resolve
        self._failures: tuple[Failure, ...] = ()
        self.declarations: dict[str, Entry] = {}  # by target: what decorators said, whatever a manifest says
        self._snapshot = Snapshot()
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):  # another thread may hold the lock while this one forks
            renew = WeakMethod(self._renew_lock)
            os.register_at_fork(after_in_child=lambda: (alive := renew()) and alive())

    # ---- registering

    @overload
    def register(self, name: C) -> C: ...
    @overload
    def register(
        self,
        name: str | None = None,
        *,
        tags: Iterable[str] | None = (),
        aliases: Iterable[str] = (),
        **metadata: Any,
    ) -> Callable[[C], C]: ...

    def register(
        self,
        name: str | C | None = None,
        *,
        tags: Iterable[str] | None = (),
        aliases: Iterable[str] = (),
        **metadata: Any,
    ) -> C | Callable[[C], C]:
        """Decorate a class, bare or called. The name defaults to the class's `__name__`.

        The same module:qualname registered again (a reload, a notebook cell, manifest and decorator both) is one entry,
        whose class is the newer one. Anything else of the same name is refused. `unregister` undoes it.

        Raises:
            WrongBaseClassError: not a class derived from the base class.
            ConflictError: a name or alias is taken.
            InvalidNameError: a name, alias or tag cannot be typed in a config.
        """
        if name is not None and not isinstance(name, str):
            return self.register()(name)

        def decorate(cls: C) -> C:
            self._check_base(cls, str(name or cls))
            entry = declare(cls.__name__ if name is None else name, target_of(cls), tags or (), aliases, metadata)
            entry = entry._replace(state="loaded", cls=cls)
            self.add(entry)
            self.declarations[entry.target] = entry
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
        """Register "module:qualname" under a name; nothing is imported until `get`. Returns what undoes it."""
        return self.add(declare(name, check_target(target), tags, aliases, metadata))

    def add(self, entry: Entry) -> Undo:
        """Register an entry. Returns what undoes it, if the entry is still there then."""
        self._ready()
        with self._lock:
            before = self._snapshot.same_target(entry.target)
            taken = {spelling for known in before for spelling in known.spellings()}
            self._refuse_conflicts(entry, [name for name in entry.spellings() if name not in taken])
            # One class may be declared by two providers: both learn of it.
            after = [known.declared_again(entry) for known in before[:1]]
            after += [known.with_class(entry.cls) for known in before[1:]]
            self._snapshot = self._snapshot.put(after or [entry])
        added = (after or [entry])[0]

        def undo() -> None:
            with self._lock:
                current = self._snapshot.entries.get(added.full_name)
                if current is not None and current.target == added.target:
                    self._snapshot = self._snapshot.put(before) if before else self._snapshot.drop(added)

        return undo

    def _refuse_conflicts(self, entry: Entry, names: Iterable[str]) -> None:
        for name in names:
            for taken in self._snapshot.claimants(name):
                if taken.requires is not None and entry.requires is None:
                    continue  # a library that is described by the hundred takes no names away
                raise ConflictError(
                    f"cannot register {name!r} in {self.name}: it is {taken.full_name} ({taken.origin});"
                    f" proposed was {entry.origin}. Choose another name, or unregister the other first",
                    name=name,
                    existing=taken.target,
                    proposed=entry.target,
                )

    def unregister(self, name: str) -> None:
        """Forget an entry, all its names included."""
        entry = self.entry(name)
        with self._lock:
            if entry.full_name not in self._snapshot.entries:
                raise self._not_found(name)  # another thread was first
            self._snapshot = self._snapshot.drop(entry)

    @contextmanager
    def scope(self) -> Iterator[Registry[T]]:
        """For tests: whatever is registered, loaded or removed inside is undone at the end, in all threads."""
        self._ready()
        before = self._snapshot
        try:
            yield self
        finally:
            with self._lock:
                self._snapshot = before

    # ---- looking

    def get(self, name: str) -> type[T]:
        """The class of this name; imports its module the first time, and again if that failed before.

        Raises:
            NotFoundError, AmbiguousNameError, DisabledError: KeyErrors, each with what to do.
            ProviderError: its module failed to import; the cause is chained.
            MissingLibraryError: the library that its provider describes is not installed.
            WrongBaseClassError: the target is no class derived from the base class.
        """
        try:
            return cast("type[T]", self._snapshot.classes[name])
        except (KeyError, TypeError):
            return cast("type[T]", self._load(self.entry(name)))

    def entry(self, name: str) -> Entry:
        """What is known of this name, without importing anything."""
        if not isinstance(name, str):
            raise InvalidNameError(f"a name is a string, got {type(name).__name__}", name=name)
        self._ready()
        snapshot = self._snapshot
        found = snapshot.find(name)
        if isinstance(found, Entry):
            return found
        if found:
            candidates = tuple(sorted(entry.full_name for entry in found))
            raise AmbiguousNameError(
                f"{name!r} is claimed by several providers; write one of {', '.join(candidates)}",
                name=name,
                candidates=candidates,
            )
        return self._resolved(name)

    def entries(self) -> tuple[Entry, ...]:
        """Every entry, by name, without importing anything."""
        self._ready()
        return tuple(self._snapshot.names.values())

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The providers whose declarations could not be read."""
        self._ready()
        return self._failures

    def instantiate(self, name: str, *args: Any, **kwargs: Any) -> T:
        """Call the class of this name."""
        return self.get(name)(*args, **kwargs)

    def list(self) -> Names:
        """Every entry once: its short name where that leads to it, provider/name otherwise."""
        self._ready()
        return list(self._snapshot.names)

    def list_with_tags(self) -> dict[str, Names]:
        """Sorted tags by name. Loads the entries whose tags only their class tells; [] where that fails."""
        self._load_untagged()
        return {name: sorted(entry.tags or ()) for name, entry in self._snapshot.names.items()}

    def filter_by_tag(self, tag: str) -> Names:
        """Names of the entries with this tag."""
        return self._matching(lambda tags: tag in tags)

    def find(self, expression: str) -> Names:
        """Names of the entries whose tags satisfy `segmentation & (binary | multilabel) & !experimental`."""
        return self._matching(tag_grammar.parse(expression))

    def __contains__(self, name: object) -> bool:
        self._ready()
        return isinstance(name, str) and isinstance(self._snapshot.find(name), Entry)

    def __len__(self) -> int:
        self._ready()
        return len(self._snapshot.entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.list())

    def __repr__(self) -> str:
        base = self._base_class if isinstance(self._base_class, str) else target_of(self._base_class)
        known = len(self._snapshot.entries) if self._discover is None else "undiscovered"
        return f"Registry({base!r}, name={self.name!r}, entries={known})"

    @property
    def base_class(self) -> type[T]:
        """What every registered class derives from; imports it if it was given as a string."""
        if isinstance(self._base_class, str):
            return cast("type[T]", import_target(self._base_class))
        return self._base_class

    # ---- inside

    def _resolved(self, name: str) -> Entry:
        """The entry of a name that nothing declares, from whoever can tell."""
        answer = None if self._resolve is None else self._resolve(name)
        if isinstance(answer, Entry):
            self.add(answer)
            return answer
        found = self._snapshot.find(name)  # asking may have registered it
        if isinstance(found, Entry):
            return found
        raise self._not_found(name, answer or "")

    def _ready(self) -> None:
        """Discover once. Several threads may scan at the same time; the first to finish publishes."""
        discover = self._discover  # another thread may set it to None at any time
        if discover is None:
            return
        found = discover()
        with self._lock:
            if self._discover is not None:
                self._snapshot = self._snapshot.put(found.entries)
                self._failures = found.failures
                self._discover = None

    def _load(self, entry: Entry) -> type:
        """Import without a lock, then publish: what was learned, or what is wrong."""
        if entry.cls is not None:
            return entry.cls
        try:
            cls = load(entry, lambda cls: self._check_base(cls, entry.full_name))
        except (ProviderError, WrongBaseClassError) as error:
            self._break_half_imported(entry.target.partition(":")[0], error)
            self._publish(entry, entry._replace(state="broken", error=error))
            raise
        except MissingLibraryError as error:
            self._publish(entry, entry._replace(state="missing", error=error))
            raise
        return self._publish(entry, entry.with_class(cls)).cls or cls

    def _break_half_imported(self, module: str, error: LossregError) -> None:
        """What a module registered before it failed is broken with it: `get` imports it again.

        So is what other modules of its package registered that Python has forgotten too, as it does all of a circle.
        """
        if module in sys.modules:
            return
        package = module.partition(".")[0]

        def is_gone(entry: Entry) -> bool:
            its = entry.target.partition(":")[0]
            return bool(entry.cls) and its.partition(".")[0] == package and its not in sys.modules

        with self._lock:
            registered = [entry for entry in self._snapshot.entries.values() if is_gone(entry)]
            self._snapshot = self._snapshot.put(e._replace(cls=None, state="broken", error=error) for e in registered)

    def _publish(self, before: Entry, after: Entry) -> Entry:
        """Replace an entry by what was learned of it. The first to load it wins; a removed one stays removed."""
        with self._lock:
            current = self._snapshot.entries.get(before.full_name)
            if current is None:
                return after
            if current.cls is not None:
                return current
            merged = current._replace(state=after.state, cls=after.cls, error=after.error)
            self._snapshot = self._snapshot.put([merged])
            return merged

    def _check_base(self, cls: object, name: str) -> None:
        check_base(cls, self._base_class, name, self.name)

    def _load_untagged(self) -> None:
        for entry in self.entries():
            if entry.tags is None and entry.state in ("discovered", "loaded"):
                try:
                    self._load(entry)
                except LossregError:
                    continue  # kept on the entry, raised when its own name is asked for
                self._settle_tags(entry)

    def _settle_tags(self, entry: Entry) -> None:
        """A class that no decorator tagged while it was loaded has no tags."""
        with self._lock:
            current = self._snapshot.entries.get(entry.full_name)
            if current is not None and current.tags is None:
                self._snapshot = self._snapshot.put([current._replace(tags=frozenset())])

    def _matching(self, test: tag_grammar.TagTest) -> Names:
        self._load_untagged()
        return [name for name, entry in self._snapshot.names.items() if entry.tags is not None and test(entry.tags)]

    def _not_found(self, name: str, advice: str = "") -> NotFoundError:
        return not_found(name, self.name, self._snapshot.spellings(), self._failures, advice)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()
