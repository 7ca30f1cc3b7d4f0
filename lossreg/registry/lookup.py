"""Look-up: the reading side of a registry, which is a Mapping from names to classes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast, overload

from lossreg.errors import AmbiguousNameError, InvalidNameError, NotFoundError
from lossreg.registry import tag_expression as tag_grammar
from lossreg.registry.entry import LOCAL, Discovered, Entry, Failure, checked, target_of
from lossreg.registry.importing import import_target
from lossreg.registry.loader import Loader
from lossreg.registry.not_found import not_found
from lossreg.registry.rules import Resolution
from lossreg.registry.scan import Scan
from lossreg.registry.table import Table, Undo

T = TypeVar("T")
D = TypeVar("D")
Names = list[str]  # inside the class, `list` is the method

_MISSING: Any = object()


class LookUp(Mapping[str, type[T]]):
    """Classes by name, as a Mapping: `found["dice"]`, `in`, `len`, `iter`, `keys`, and look-up by tags.

    Looking a name up imports its class. `values`, `items` and `dict(found)` import every class; the others import none.
    See `Registry` for the arguments.
    """

    def __init__(
        self,
        base_class: type[T] | str,
        name: str = "registry",
        *,
        kind: str = "",
        discover: Callable[[], Discovered] | None = None,
        resolve: Callable[[str], Entry | str | None] | None = None,
        restrict: Callable[[Entry], Entry] | None = None,
    ) -> None:
        self.name = name
        self._module = sys._getframe(1).f_globals.get("__name__", "")  # that creates it, for pickles
        self._kind = kind
        self._base_class = base_class
        self._resolve = resolve
        self._table = Table(name, restrict or _as_it_is)
        self._loader = Loader(self._table, base_class, name)
        self._scan = Scan(self._table, self._loader, discover)

    @overload
    def get(self, name: str) -> type[T]: ...
    @overload
    def get(self, name: str, default: D) -> type[T] | D: ...

    def get(self, name: str, default: Any = _MISSING) -> Any:
        """Return the class of a name. Its module is imported the first time, and again if that failed before.

        Args:
            default: returned for an unknown name. All other errors are raised.

        Raises:
            NotFoundError, AmbiguousNameError, DisabledError: KeyErrors, each with the remedy.
            ProviderError: its module failed to import; the cause is chained.
            MissingLibraryError: the library that its provider describes is not installed.
            WrongBaseClassError: the target is no class derived from the base class.
        """
        try:
            cls = self._table.snapshot.found[name].winner.cls  # type: ignore[union-attr]
        except (KeyError, TypeError, AttributeError):  # not looked up since the last change, no text, or a tie
            cls = None
        if cls is not None:
            return cls
        try:
            entry = self.entry(name)
        except NotFoundError:
            if default is _MISSING:
                raise
            return default
        return self._loader.load(entry)

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of a name, as `get` does."""
        return self.get(name)

    def entry(self, name: str) -> Entry:
        """Return the entry of a name. Nothing is imported."""
        if not isinstance(name, str):
            raise InvalidNameError(f"a name is a string, got {type(name).__name__}", name=name)
        self._scan.settle()
        found = self._table.snapshot.find(name)
        if found.winner is not None:
            return found.winner
        if not found.candidates:
            return self._resolved(name)
        enabled = [entry for entry in found.candidates if not entry.disabled_reason] or found.candidates
        candidates = tuple(sorted(entry.full_name for entry in enabled))
        own = ", or register yours with override=True" if any(entry.provider == LOCAL for entry in enabled) else ""
        raise AmbiguousNameError(
            f"{name!r} is claimed by several providers; write one of {', '.join(candidates)}{own}",
            name=name,
            candidates=candidates,
        )

    def explain(self, name: str) -> Resolution:
        """Return the entry that a name leads to, the rule that chose it, and all candidates. Nothing is imported.

        Raises:
            NotFoundError: there is no such name. At a tie there is no error, and no winner.
        """
        self._scan.settle()
        if not isinstance(name, str) or not self._table.snapshot.find(name).candidates:
            entry = self.entry(name)
            return Resolution(entry, "resolved", (entry,))
        return self._table.snapshot.find(name)

    def entries(self) -> tuple[Entry, ...]:
        """Return every entry, by name. Nothing is imported."""
        self._scan.settle()
        return tuple(self._table.snapshot.names.values())

    @property
    def providers(self) -> frozenset[str]:
        """Return the names of the providers that have entries. Nothing is imported."""
        self._scan.settle()
        return self._table.snapshot.providers

    @property
    def declarations(self) -> tuple[Entry, ...]:
        """Return every entry as a decorator declared it. A manifest's metadata is not merged in."""
        return self._table.snapshot.declarations

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Return the providers whose declarations could not be read."""
        return self._scan.ready().failures

    def instantiate(self, name: str, *args: Any, **kwargs: Any) -> T:
        """Call the class of a name. The arguments are not validated: use `lossreg.build` for that."""
        return self.get(name)(*args, **kwargs)

    def list(self) -> Names:
        """Return every entry once: its short name where that leads to it, provider/name otherwise."""
        self._scan.settle()
        return [*self._table.snapshot.names]

    def list_with_tags(self) -> dict[str, Names]:
        """Return sorted tags by name. Entries with unknown tags are imported; [] where that fails."""
        self._loader.load_untagged(self.entries())
        return {name: sorted(entry.tags or ()) for name, entry in self._table.snapshot.names.items()}

    def filter_by_tag(self, tag: str) -> Names:
        """Return the names of the entries with a tag."""
        return self._matching(lambda tags: tag in tags)

    def find(self, expression: str) -> Names:
        """Return the names of the entries whose tags satisfy `segmentation & (binary | multilabel) & !experimental`."""
        return self._matching(tag_grammar.parse(expression))

    def __contains__(self, name: object) -> bool:
        self._scan.settle()
        return isinstance(name, str) and self._table.snapshot.find(name).winner is not None

    def __len__(self) -> int:
        self._scan.settle()
        return len(self._table.snapshot.entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.list())

    def __eq__(self, other: object) -> bool:  # by identity: a Mapping's would import every class
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        base = self._base_class if isinstance(self._base_class, str) else target_of(self._base_class)
        known = len(self._table.snapshot.entries) if self._scan.is_done else "undiscovered"
        return f"Registry({base!r}, name={self.name!r}, entries={known})"

    @property
    def base_class(self) -> type[T]:
        """Return the base of every registered class. It is imported if it was given as a string."""
        if isinstance(self._base_class, str):
            return cast("type[T]", import_target(self._base_class))
        return self._base_class

    def refresh(self) -> None:
        """Scan the installed packages again. Classes that are loaded already stay: Python keeps their modules.

        `lossreg.refresh` does so for losses, parts and hooks.
        """
        self._scan.again()

    def _add(self, part: Entry, *, is_decorated: bool = False) -> tuple[Entry, Undo]:
        self._scan.ready()
        entry, undo = self._table.add(part, is_decorated=is_decorated)
        self._scan.note(entry)
        return entry, undo

    def _add_made(self, entry: Entry) -> tuple[Entry, Undo]:
        """Check an entry that was made by hand, and add it."""
        part = checked(entry)
        if part.cls is not None:
            self._loader.check(part.cls, part.full_name)
        return self._add(part)

    def _resolved(self, name: str) -> Entry:
        """Call `resolve` with an unknown name; raise NotFoundError if it returns no entry."""
        answer = None if self._resolve is None else self._resolve(name)
        if isinstance(answer, Entry):
            return self._add_made(answer)[0]
        if answer is not None and not isinstance(answer, str):
            raise TypeError(f"the answer to the unknown name {name!r} must be an Entry or a hint, got {answer!r:.80}")
        winner = self._table.snapshot.find(name).winner  # the call may have registered it
        if winner is not None:
            return winner
        if self._scan.ready().changed():
            answer = answer or "packages were installed or removed since the first look-up: call lossreg.refresh()"
        raise self._not_found(name, answer or "")

    def _matching(self, test: tag_grammar.TagTest) -> Names:
        self._loader.load_untagged(self.entries())
        names = self._table.snapshot.names
        return [name for name, entry in names.items() if entry.tags is not None and test(entry.tags)]

    def _not_found(self, name: str, advice: str = "") -> NotFoundError:
        return not_found(
            name, self.name, self._kind, self._table.snapshot.spellings(), self._scan.ready().failures, advice
        )


def _as_it_is(entry: Entry) -> Entry:
    return entry
