"""Installed distributions and their entry points for lossreg. Nothing of them is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from lossreg.discovery.copies import UNKNOWN, Copy, copies, is_foreign, leftovers, normalized
from lossreg.errors import LossregError, ManifestError
from lossreg.messages import printable
from lossreg.registry.entry import Failure

__all__ = ["Declared", "Installed", "changed", "declared", "forget", "normalized", "remarks", "scan"]

LOSSES_GROUP = "lossreg.losses"
MANIFESTS_GROUP = "lossreg.manifests"
HOOKS_GROUP = "lossreg.hooks"

_MARK = b"lossreg."  # in every file with a line for lossreg


class Declared(NamedTuple):
    """One line of a distribution's entry_points.txt.

    `root`: the folder where the distribution is installed. `folder`: its metadata; empty if that is no plain folder.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    root: str
    folder: str = ""


class Installed(NamedTuple):
    """The result of a scan.

    `declared`: every line in a group of lossreg, in the order of sys.path, or the failure of a file. `versions`: of all
    distributions by name. `copies`: of each distribution with such lines, the one that counts first. `manifests`: a
    cache of the files that were read for this scan.
    """

    declared: list[Declared | Failure]
    versions: dict[str, str]
    copies: dict[str, list[Copy]]
    manifests: dict[Declared, dict[str, Any] | LossregError]


_last: tuple[object, Installed] | None = None


def scan() -> Installed:
    """Scan the installed distributions, once while sys.path, its folders and the finders stay the same.

    Of several copies of a distribution the first whole one counts, as it does for imports. In one folder it is the one
    of the newest version.
    """
    global _last
    state = _state()
    last = _last
    if last is None or last[0] != state:
        last = _last = (state, _scanned())
    return last[1]


def forget() -> None:
    """Let the next call of `scan` read everything again, for example after a file of a distribution was changed."""
    global _last
    _last = None


def changed(before: Installed) -> bool:
    """Return whether the declarations changed since a scan, as after an installation."""
    return repr(before.declared) != repr(scan().declared)


def declared() -> list[Declared | Failure]:
    """Return every line in a group of lossreg, in the order of sys.path, or the failure of a file."""
    return scan().declared


def remarks() -> list[str]:
    """Return a sentence for each copy of a distribution that does not count, with the remedy."""
    found = [f"{folder} is left over from an interrupted pip and is ignored; delete it" for folder in leftovers()]
    for name, known in sorted(scan().copies.items()):
        if not known[0].is_whole():
            found.append(f"{name} is installed without its name and version in {_place(known[0])}; install it again")
        whole = [copy for copy in known[1:] if copy.is_whole()]
        if whole:
            places = ", ".join(f"{copy.version} in {copy.root}" for copy in (known[0], *whole))
            found.append(f"{name} is installed more than once; the first is used: {places}; uninstall the others")
        partial = [copy for copy in known[1:] if copy not in whole]
        found += [f"{_place(copy)} is a part of the metadata of {name} and is ignored; delete it" for copy in partial]
    return [printable(text) for text in found]


def _place(copy: Copy) -> str:
    return copy.folder or copy.root


def _state() -> object:
    """Return a value that changes when a distribution is installed or removed: times of folders, and the finders."""
    finders = [finder for finder in sys.meta_path if is_foreign(finder)]
    return [(path, _changed(path)) for path in sys.path if isinstance(path, str)], finders


def _changed(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path or ".")  # the working directory may change, and its number with it
    except (OSError, ValueError):
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _scanned() -> Installed:
    found = Installed([], {}, {}, {})
    by_name: dict[str, list[Copy]] = {}
    for number, item in enumerate(copies()):
        if isinstance(item, Failure):
            found.declared.append(item)
        else:  # those without a name are as many distributions
            by_name.setdefault(item.name if item.name != UNKNOWN else f"{UNKNOWN} {number}", []).append(item)
    for known in by_name.values():
        first = known[0]
        if any(_MARK in copy.entry_points for copy in known):
            first = known[0] if len(known) == 1 else _chosen(known)
            found.copies[first.name] = [first, *(copy for copy in known if copy is not first)]
            found.declared.extend(_lines_of(first))
        found.versions[first.name] = first.version
    return found


def _chosen(known: list[Copy]) -> Copy:
    """Choose among the copies of a distribution, in the order of sys.path."""
    best = [copy for copy in known if copy.is_whole()] or [copy for copy in known if copy.entry_points] or known
    return max((copy for copy in best if copy.root == best[0].root), key=_version)


def _version(copy: Copy) -> Any:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(copy.version)
    except InvalidVersion:
        return Version("0.dev0")


def _lines_of(copy: Copy) -> Iterator[Declared | Failure]:
    if _MARK not in copy.entry_points:
        return
    name, version = copy.name, copy.version
    try:
        if not (name + version).isprintable():  # every message about its losses contains them
            raise ManifestError(f"{name!a:.80}, version {version!a:.80}: control characters in it", source=name)
        points = list(_parse(copy.entry_points.decode("utf-8-sig")))
    except ManifestError as error:
        yield Failure(ascii(name), None, error)
    except ValueError as error:
        cannot = ManifestError(f"{name}: its entry_points.txt cannot be read: {error}", source=name)
        yield Failure(name, name, cannot)
    else:
        for group, point, value in points:
            yield Declared(group, point, value, name, version, copy.root, copy.folder)


def _parse(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield group, name and value of each line for lossreg, by packaging's "Entry points specification"."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and line[0] not in "#;" and group in (LOSSES_GROUP, MANIFESTS_GROUP, HOOKS_GROUP):
            name, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"line {line!r:.80} of [{group}] has no '='")
            yield group, name.strip(), value.strip()
