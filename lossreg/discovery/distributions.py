"""Installed distributions and their entry points for lossreg. Nothing of them is imported.

Folders of sys.path are read here, as importlib.metadata takes 7 times as long: 173 ms against 24 for 300 distributions.
It reads archives and foreign finders.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.errors import LossregError, ManifestError
from lossreg.registry.entry import Failure

if TYPE_CHECKING:
    from importlib.metadata import Distribution

LOSSES_GROUP = "lossreg.losses"
MANIFESTS_GROUP = "lossreg.manifests"
HOOKS_GROUP = "lossreg.hooks"

_MARK = b"lossreg."  # in every file with a line for lossreg
_FOLDERS = (".dist-info", ".egg-info")
_FOLDER = re.compile(r"(.+?)-(\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info")


class Declared(NamedTuple):
    """One line of a distribution's entry_points.txt. `root`: the folder where the distribution is installed."""

    group: str
    name: str
    value: str
    distribution: str
    version: str
    root: str


class Installed(NamedTuple):
    """The result of a scan.

    `declared`: every line in a group of lossreg, in the order of sys.path, or the failure of a file. `versions`: of all
    distributions by name. `copies`: versions and folders of each distribution with such lines. `manifests`: a cache of
    the files that were read for this scan.
    """

    declared: list[Declared | Failure]
    versions: dict[str, str]
    copies: dict[str, list[str]]
    manifests: dict[Declared, dict[str, Any] | LossregError]


_last: tuple[object, Installed] | None = None


def scan() -> Installed:
    """Scan the installed distributions, once while sys.path, its folders and the finders stay the same.

    Of two distributions of one name the first counts, as it does for imports.
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


def declared() -> list[Declared | Failure]:
    """Return every line in a group of lossreg, in the order of sys.path, or the failure of a file."""
    return scan().declared


def duplicates() -> dict[str, list[str]]:
    """Return the versions and folders of distributions with such lines that are installed more than once."""
    return {name: places for name, places in scan().copies.items() if len({*places}) > 1}


def _state() -> object:
    """Return a value that changes when a distribution is installed or removed: times of folders, and the finders."""
    return [(path, _changed(path)) for path in sys.path if isinstance(path, str)], [*sys.meta_path]


def _changed(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path or ".")  # the working directory may change, and its number with it
    except (OSError, ValueError):
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _scanned() -> Installed:
    found = Installed([], {}, {}, {})
    for name, version, raw, root in _distributions():
        if _MARK in raw:
            found.copies.setdefault(name, []).append(f"{version} in {root}")
        if name in found.versions and name != "unknown":
            continue
        found.versions[name] = version
        if _MARK not in raw:
            continue
        if (name + version).isprintable():
            found.declared.extend(_lines(name, version, raw, root))
        else:  # every message about its losses contains them
            cause = ManifestError(f"{name!a:.80}, version {version!a:.80}: control characters in it", source=name)
            found.declared.append(Failure(ascii(name), None, cause))
    return found


def _lines(distribution: str, version: str, raw: bytes, root: str) -> Iterator[Declared | Failure]:
    try:
        points = list(_parse(raw.decode("utf-8")))
    except ValueError as error:
        cause = ManifestError(f"{distribution}: its entry_points.txt cannot be read: {error}", source=distribution)
        yield Failure(distribution, distribution, cause)
        return
    for group, name, value in points:
        yield Declared(group, name, value, distribution, version, root)


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


def _distributions() -> Iterator[tuple[str, str, bytes, str]]:
    """Yield name, version, entry_points.txt and root of every installed distribution."""
    for path in sys.path:
        if not isinstance(path, str):  # the import system ignores it as well
            continue
        try:
            names = sorted(os.listdir(path or "."))
        except (FileNotFoundError, PermissionError):
            continue
        except OSError:  # an archive
            names = None
        if names is None or path.endswith(".egg"):
            yield from _from_library(_library().distributions(path=[path]))
        else:
            yield from _in_folder(path or ".", [name for name in names if name.endswith(_FOLDERS)])
    for finder in sys.meta_path:
        find = getattr(finder, "find_distributions", None)
        # PathFinder and the backport's finder would search sys.path again.
        if find is not None and finder is not PathFinder and _package(finder) != "importlib_metadata":
            yield from _from_library(find(_library().DistributionFinder.Context()))


def _in_folder(root: str, names: Iterable[str]) -> Iterator[tuple[str, str, bytes, str]]:
    for name in names:
        folder = os.path.join(root, name)
        raw = _read(folder, "entry_points.txt")
        match = _FOLDER.fullmatch(name)
        if match:
            yield normalized(match[1]), match[2], raw, root
        elif raw:  # a development install's folder may leave the version to its metadata
            yield *_header(_read(folder, "METADATA") or _read(folder, "PKG-INFO")), raw, root


def _from_library(distributions: Iterable[Distribution]) -> Iterator[tuple[str, str, bytes, str]]:
    for distribution in distributions:
        texts = [distribution.read_text(name) or "" for name in ("entry_points.txt", "METADATA", "PKG-INFO")]
        points, *header = [text.encode() for text in texts]
        yield *_header(header[0] or header[1]), points, str(distribution.locate_file(""))


def _header(raw: bytes) -> tuple[str, str]:
    """Return name and version from the header of the metadata, which ends at the first blank line."""
    fields = {"name": "unknown", "version": "unknown"}
    with suppress(UnicodeDecodeError):
        for line in raw.decode("utf-8").splitlines():
            key, separator, value = line.partition(":")
            if not separator:
                break
            if key.lower() in fields:
                fields[key.lower()] = value.strip()
    return normalized(fields["name"]), fields["version"]


def normalized(name: str) -> str:
    """Return the normalized spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(folder: str, name: str) -> bytes:
    with suppress(OSError), open(os.path.join(folder, name), "rb", buffering=0) as file:
        return file.read()
    return b""


def _package(finder: object) -> str:
    return str(getattr(finder, "__module__", "")).partition(".")[0]


def _library() -> Any:
    # Its import costs a third of the time of listing.
    import importlib.metadata

    return importlib.metadata
