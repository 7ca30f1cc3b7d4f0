"""What installed distributions declare to lossreg in their entry points. Nothing of them is imported.

importlib.metadata finds the same in four times as long: it is asked where sys.path holds something else than folders.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.errors import ManifestError
from lossreg.registry.entry import Failure

if TYPE_CHECKING:
    from importlib.metadata import Distribution

LOSSES_GROUP = "lossreg.losses"
MANIFESTS_GROUP = "lossreg.manifests"
HOOKS_GROUP = "lossreg.hooks"

_MARK = b"lossreg."  # in every file that declares something to us
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


def declared() -> list[Declared | Failure]:
    """Every line in a group of lossreg's, in the order of sys.path; a failure for a file that cannot be read."""
    return scan()[0]


def scan() -> tuple[list[Declared | Failure], dict[str, str]]:
    """What is declared, and the version of every distribution that is installed.

    Of two distributions of one name the first counts, as it does for imports.
    """
    found: list[Declared | Failure] = []
    versions: dict[str, str] = {}
    for name, version, raw, root in _distributions():
        if name in versions and name != "unknown":
            continue
        versions[name] = version
        if _MARK not in raw:
            continue
        if (name + version).isprintable():
            found += _lines(name, version, raw, root)
        else:  # they are in every message about its losses
            cause = ManifestError(f"{name!a:.80}, version {version!a:.80}: control characters in it", source=name)
            found.append(Failure(ascii(name), None, cause))
    return found, versions


def duplicates() -> dict[str, list[str]]:
    """Where a distribution of ours or of others' losses is installed more than once: its versions and folders."""
    found: dict[str, list[str]] = {}
    for name, version, raw, root in _distributions():
        if _MARK in raw:
            found.setdefault(name, []).append(f"{version} in {root}")
    return {name: roots for name, roots in found.items() if len({*roots}) > 1}


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
    """Group, name and value of each line that is ours, by packaging's "Entry points specification"."""
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
    """Name, version, entry_points.txt and root of everything that is installed."""
    for path in sys.path:
        if not isinstance(path, str):  # the import system passes over it as well
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
        # PathFinder and the backport's finder search sys.path, which has been done.
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
    """Name and version from the header of the metadata, which ends at the first blank line."""
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
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(folder: str, name: str) -> bytes:
    with suppress(OSError), open(os.path.join(folder, name), "rb", buffering=0) as file:
        return file.read()
    return b""


def _package(finder: object) -> str:
    return str(getattr(finder, "__module__", "")).partition(".")[0]


def _library() -> Any:
    # Costs a third of the time that listing may take.
    import importlib.metadata

    return importlib.metadata
