"""Merging: what a declaration, an import or a new scan makes of the entries. Each function changes a draft."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import reduce

from lossreg.errors import ConflictError
from lossreg.registry.entry import LOCAL, Entry, State, target_of
from lossreg.registry.importing import find_imported, is_importing
from lossreg.registry.snapshot import Draft, Parts

Restrict = Callable[[Entry], Entry]  # disables an entry that the environment excludes


def add(draft: Draft, part: Entry, registry: str, restrict: Restrict) -> Entry:
    """Add a declaration: to the entry of its class, or as an entry of its own. Return that entry.

    Raises:
        ConflictError: a name is taken by another class of the same provider.
    """
    for older in _older(draft, part):
        undo(draft, older, restrict)
    partners = _partners(draft, part)
    _refuse_conflicts(draft, part, partners, registry)
    if not partners:
        return _put(draft, restrict, (part,))
    first, *others = partners
    for other in others:  # two providers may declare one class
        draft.put(other.with_class(part.cls))
    return _put(draft, restrict, _joined(draft.parts(first.full_name), part), first)


def undo(draft: Draft, part: Entry, restrict: Restrict) -> None:
    """Remove a declaration, and nothing else."""
    held = [draft.entry(part.full_name), *draft.same_target(part.target)]
    for known in held:
        parts = draft.parts(known.full_name) if known is not None else ()
        if known is not None and any(each is part for each in parts):
            draft.undeclare([part])
            rest = tuple(each for each in parts if each is not part)
            if rest:
                _put(draft, restrict, rest, known, lost=part.cls)
            else:
                draft.drop(known.full_name)
            return


def remove(draft: Draft, entry: Entry) -> None:
    """Remove an entry with all its declarations."""
    draft.undeclare(draft.parts(entry.full_name))
    draft.drop(entry.full_name)


def publish(draft: Draft, loaded: Entry, restrict: Restrict) -> None:
    """Set the result of an import. A removed entry stays removed, a loaded one loaded."""
    current = draft.entry(loaded.full_name)
    if current is None or current.cls is not None or current.disabled_reason:
        return
    draft.put(current._replace(state=loaded.state, cls=loaded.cls, error=loaded.error))
    if loaded.cls is None:
        return
    for known in draft.same_target(target_of(loaded.cls)):  # its decorator ran, and the target is a re-export
        if known.provider == LOCAL and known.full_name != loaded.full_name and _is_decorated(draft, known, loaded.cls):
            parts = draft.parts(current.full_name) + draft.parts(known.full_name)
            draft.drop(known.full_name)
            current = _put(draft, restrict, parts, draft.entry(current.full_name))


def take_back(
    draft: Draft, entries: Iterable[Entry], is_gone: Callable[[str], bool], error: BaseException | None
) -> None:
    """Take back the classes that modules registered before their import failed. With the error they are broken."""
    state: State = "discovered" if error is None else "broken"
    for entry in entries:
        if entry.cls is not None and is_gone(entry.cls.__module__):
            parts = draft.parts(entry.full_name)
            draft.undeclare(parts)
            bare = tuple(part if part.cls is None else part._replace(cls=None, state="discovered") for part in parts)
            draft.put(entry._replace(cls=None, state=state, error=error), bare)


def rediscover(draft: Draft, before: Iterable[Entry], found: Iterable[Entry], restrict: Restrict) -> None:
    """Replace the entries of one scan by those of another. Loaded classes and declarations in code stay."""
    fresh = {entry.full_name: entry for entry in found}
    for old in before:
        new = fresh.pop(old.full_name, None)
        known = draft.entry(old.full_name)
        if known is None or not any(part is old for part in draft.parts(old.full_name)):
            continue  # it was removed
        if new is None or new.target != old.target:
            undo(draft, old, restrict)
            fresh |= {} if new is None else {new.full_name: new}
        else:
            parts = tuple(new if part is old else part for part in draft.parts(old.full_name))
            merged = _put(draft, restrict, parts)
            draft.put(merged.with_class(known.cls))
    for new in fresh.values():
        discover(draft, new, restrict)


def discover(draft: Draft, entry: Entry, restrict: Restrict) -> None:
    """Add the entry of an installed package. What code registered of the same class belongs to it."""
    known = _named([each for each in draft.same_target(entry.target) if each.provider == LOCAL], entry.name)
    parts: Parts = (entry,)
    for each in known:
        parts += draft.parts(each.full_name)
        draft.drop(each.full_name)
    _put(draft, restrict, parts)


def _older(draft: Draft, part: Entry) -> list[Entry]:
    """Return what declared an older class of the same target under this name, as a cell does that runs again."""
    parts = [each for known in draft.same_target(part.target) for each in draft.parts(known.full_name)]
    return [
        each for each in parts if each.full_name == part.full_name and None is not each.cls is not part.cls is not None
    ]


def _partners(draft: Draft, part: Entry) -> list[Entry]:
    """Return the entries of the declared class. A provider's entry is its own: only code adds to those of others."""
    known = draft.entry(part.full_name)
    if part.provider != LOCAL:
        return [known] if known is not None and known.target == part.target else []
    same = [known for known in draft.same_target(part.target) if _is_same_class(draft, known, part)]
    if known is not None and known not in same and _is_re_export(known, part):
        same.append(known)
    return sorted(
        _named(same, part.name), key=lambda known: (not known.owns_name, known.distribution is None, known.full_name)
    )


def _named(entries: list[Entry], name: str) -> list[Entry]:
    """Return those of the name, if there are any: a module may define one target twice, under two names."""
    return [entry for entry in entries if name in entry.spellings()] or entries


def _is_same_class(draft: Draft, known: Entry, part: Entry) -> bool:
    """Return whether a declaration with the same target declares the class of an entry, or defines it again.

    Two class objects of one target are one class where they were declared under one name, as in a notebook's cell that
    runs again. Under two names they are two: a function made them.
    """
    if known.cls is None or part.cls is None or known.cls is part.cls:
        return True
    return known.target == part.target and part.name in {each.name for each in draft.parts(known.full_name)}


def _is_re_export(known: Entry, part: Entry) -> bool:
    """Return whether one is a target in code that was not imported yet, and the other is the class that it re-exports.

    While the package is imported, its own name for the class may not be there yet.
    """
    lazy, loaded = (known, part) if known.cls is None else (part, known)
    if lazy.cls is not None or loaded.cls is None:
        return False
    module, _, qualname = lazy.target.partition(":")
    is_coming = is_importing(module) and qualname == loaded.cls.__qualname__ and lazy.package == loaded.package
    return is_coming or find_imported(lazy.target) is loaded.cls


def _refuse_conflicts(draft: Draft, part: Entry, partners: Sequence[Entry], registry: str) -> None:
    """Refuse a name that the same provider gave to another class. `override` takes it away instead."""
    provider = partners[0].provider if partners else part.provider
    if partners and provider != LOCAL:
        return  # the names that its package declares come first
    theirs = {known.full_name for known in partners}
    for spelling in part.spellings() if provider == LOCAL else (part.name,):
        for known in draft.claimants(spelling):
            if known.provider != provider or known.full_name in theirs:
                continue
            if part.owns_name and provider == LOCAL:
                if known.name == spelling:
                    remove(draft, known)
            elif provider == LOCAL or known.name == spelling:
                raise _conflict(part, known, spelling, registry)


def _conflict(part: Entry, known: Entry, spelling: str, registry: str) -> ConflictError:
    remedy = "Choose another name, unregister the other first, or replace it with override=True"
    if part.provider != LOCAL:
        remedy = f"Choose another name, or unregister {known.full_name!r} first"
    return ConflictError(
        f"cannot register {spelling!r} in {registry}: it is {known.full_name} ({known.origin}); proposed was"
        f" {part.origin}{_twice(known, part)}. {remedy}",
        name=spelling,
        existing=known.target,
        proposed=part.target,
    )


def _twice(known: Entry, part: Entry) -> str:
    """Return a remark if both are in one file, which was imported under two names."""
    modules = [entry.target.partition(":")[0] for entry in (known, part)]
    files = {getattr(sys.modules.get(module), "__file__", None) for module in modules}
    if len({*modules}) == 1 or len(files) > 1 or None in files:
        return ""
    return f" (one file, imported as {modules[0]} and as {modules[1]}; import it under one name)"


def _joined(parts: Parts, part: Entry) -> Parts:
    """Add a declaration to others of its class. What declared an older class object of its name is replaced."""
    if part.cls is None:
        return (*parts, part)
    kept = [each for each in parts if each.cls is None or each.cls is part.cls]
    same = [each for each in kept if each.cls is part.cls and each.name == part.name]
    return tuple(part if each in same else each for each in kept) if same else (*kept, part)


def _put(draft: Draft, restrict: Restrict, parts: Parts, known: Entry | None = None, lost: type | None = None) -> Entry:
    """Merge the parts of an entry, and put it in the place of a known one, with the result of its import.

    Args:
        lost: a class that is no longer its class.
    """
    merged = restrict(reduce(Entry.merge_declaration, parts))
    if merged.disabled_reason:
        merged = merged._replace(cls=None)
    elif merged.cls is None and known is not None and (known.cls is None or known.cls is not lost):
        merged = merged._replace(state=known.state, cls=known.cls, error=known.error, reason=known.reason)
    if known is not None and known.full_name != merged.full_name:
        draft.drop(known.full_name)
    draft.put(merged, parts)
    return merged


def _is_decorated(draft: Draft, entry: Entry, cls: type) -> bool:
    return any(part.cls is cls for part in draft.parts(entry.full_name))
