"""Entries that the decorators of a package declare, and the ones that no manifest can hold."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from lossreg.authoring.package_modules import PASSED_ON, import_all, is_excluded
from lossreg.registries import losses, parts
from lossreg.registry.entry import Entry
from lossreg.registry.importing import import_target


class Declared(NamedTuple):
    """What the decorators of a package declare.

    `sections`: the entries of the manifest's sections. `problems`: a line for each class that no manifest can hold.
    `failed`: the errors of the modules that could not be imported, by name.
    """

    sections: dict[str, list[Entry]]
    problems: list[str]
    failed: dict[str, BaseException]


def declared(package: str, exclude: Collection[str]) -> Declared:
    """Import a package and its modules, without the excluded ones, and return what its decorators declare."""
    registries = (losses, parts)
    # Decorators run once: those of modules that are imported already count as well.
    before = {registry.name: registry.declarations for registry in registries}
    with losses.scope(), parts.scope():
        failed = import_all(package, exclude)
        after = {registry.name: registry.declarations for registry in registries}

    def is_described(entry: Entry) -> bool:
        module = module_of(entry)
        return _is_in(package, entry) and not _is_stale(entry) and not is_excluded(module, [*exclude, *failed])

    found = {name: _merged(filter(is_described, [*before[name], *after[name]])) for name in before}
    problems = [problem for entries in found.values() for problem in _problems(entries)]
    return Declared(found, problems, failed)


def module_of(entry: Entry) -> str:
    """Return the module of the entry's class."""
    return entry.target.partition(":")[0]


def _is_in(package: str, entry: Entry) -> bool:
    return f"{module_of(entry)}.".startswith(f"{package}.")


def _is_stale(entry: Entry) -> bool:
    """Return whether the class is left of a module that was removed or imported again since, as in a long session."""
    module = sys.modules.get(module_of(entry))
    names = [getattr(value, "__globals__", {}) for value in vars(entry.cls).values()]
    return module is None or any(
        found is not vars(module) and found.get("__name__") == module.__name__ for found in names
    )


def _merged(entries: Iterable[Entry]) -> list[Entry]:
    """Make one entry of the declarations of one class, whose further names are aliases.

    Of two classes with one target and one name the later counts, as a cell of a notebook may run again.
    """
    found: list[Entry] = []
    for entry in entries:
        place = next((number for number, known in enumerate(found) if _is_same(known, entry)), None)
        if place is None:
            found.append(entry)
        else:
            known = found[place]
            found[place] = known.merge_declaration(entry) if known.cls is entry.cls else entry
    return found


def _is_same(known: Entry, entry: Entry) -> bool:
    return known.target == entry.target and (known.cls is entry.cls or known.name == entry.name)


def _problems(entries: Collection[Entry]) -> Iterator[str]:
    """Yield the reason and the remedy for each class to which its target does not lead."""
    for entry in entries:
        if "<locals>" in entry.target:
            module = module_of(entry)
            yield (
                f"{entry.target} ({entry.name!r}) is made inside a function, where no config finds it; define and"
                f" register a class at the top level of {module} instead, which may be derived from the function's"
            )
        elif _at(entry.target) is not entry.cls:
            yield (
                f"{entry.target} ({entry.name!r}) leads to another class or to nothing: its name was assigned again or"
                " deleted after it was registered; give each registered class a name of its own that stays, and let"
                " @register be the outermost decorator"
            )


def _at(target: str) -> object:
    try:
        return import_target(target)
    except PASSED_ON:
        raise
    except BaseException:  # noqa: BLE001 - it leads nowhere, for any reason
        return None
