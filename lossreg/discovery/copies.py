"""Copies: the metadata of installed distributions, wherever sys.path and the finders have it. Nothing is imported.

Folders of sys.path are read here: importlib_metadata takes several times as long, and its import more than a scan. It
reads archives and foreign finders, and decides whether metadata is whole: an interrupted installation leaves a part.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.errors import ManifestError
from lossreg.messages import printable, with_type
from lossreg.registry.entry import Failure

if TYPE_CHECKING:
    from importlib_metadata import Distribution

UNKNOWN = "unknown"

_SUFFIXES = (".dist-info", ".egg-info")
_FOLDER = re.compile(r"(.+?)-(\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info", re.IGNORECASE)


class Copy(NamedTuple):
    """One copy of a distribution.

    `entry_points`: its entry_points.txt. `root`: the folder where it is installed. `folder`: its own metadata; empty
    where `distribution` is, as in an archive.
    """

    name: str
    version: str
    entry_points: bytes
    root: str
    folder: str = ""
    distribution: Distribution | None = None

    def is_whole(self) -> bool:
        """Return whether its metadata has a name and a version. An interrupted installation may leave a part of it."""
        try:
            metadata = (self.distribution or _library().Distribution.at(self.folder)).metadata
            return bool(metadata.get("Name") and metadata.get("Version"))
        except Exception:  # noqa: BLE001 - missing or unreadable; a foreign distribution may raise anything
            return False


def copies() -> Iterator[Copy | Failure]:
    """Yield every copy, in the order of sys.path and of its folders' sorted names, or the failure of a finder."""
    for path in _places():
        names = _listed(path)
        if names is None or path.lower().endswith(".egg"):
            yield from _from_library(path, path=[path])
        else:
            yield from (_in_folder(path or ".", name) for name in names if not _is_leftover(name))
    for finder in [*sys.meta_path]:
        if is_foreign(finder):
            yield from _from_library(f"{finder!r:.80}", finder)


def leftovers() -> list[str]:
    """Return the folders that pip renames before it removes a distribution, and leaves where it is interrupted."""
    found = [(path, name) for path in _places() for name in _listed(path) or () if _is_leftover(name)]
    return [os.path.join(path or ".", name) for path, name in found]


def is_foreign(finder: object) -> bool:
    """Return whether a finder of sys.meta_path may know distributions beside those of sys.path."""
    package = str(getattr(finder, "__module__", "")).partition(".")[0]
    return hasattr(finder, "find_distributions") and finder is not PathFinder and package != "importlib_metadata"


def normalized(name: str) -> str:
    """Return the normalized spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _places() -> Iterator[str]:
    """Yield the entries of sys.path that exist, each once. The import system ignores those that are no text."""
    seen = set()
    for path in sys.path:
        with suppress(OSError, ValueError):
            if isinstance(path, str):
                status = os.stat(path or ".")
                place = (status.st_dev, status.st_ino) if status.st_ino else path
                if place not in seen:
                    seen.add(place)
                    yield path


def _listed(path: str) -> list[str] | None:
    """Return the sorted names of metadata in a folder, none if it cannot be read, and None for a file."""
    try:
        names = os.listdir(path or ".")
    except NotADirectoryError:
        return None
    except OSError:
        return []
    return sorted(name for name in names if name.lower().endswith(_SUFFIXES))


def _is_leftover(name: str) -> bool:
    return name.startswith(("~", "-"))  # old versions of pip begin with a hyphen


def _in_folder(root: str, file_name: str) -> Copy:
    folder = os.path.join(root, file_name)
    match = _FOLDER.fullmatch(file_name)
    if match:
        name, version = match[1], match[2]
    else:  # a development install's folder may leave the version to its metadata
        header = _header(_read(folder, "METADATA") or _read(folder, "PKG-INFO") or _read(root, file_name))
        name = header.get("name") or file_name.rpartition(".")[0].partition("-")[0] or UNKNOWN
        version = header.get("version") or UNKNOWN
    return Copy(normalized(name), version, _read(folder, "entry_points.txt"), root, folder)


def _header(raw: bytes) -> dict[str, str]:
    """Return the fields in the header of metadata, which ends at the first blank line. A second one does not count."""
    fields: dict[str, str] = {}
    for line in re.split(r"\r\n|\r|\n", raw.decode("utf-8-sig", "replace")):
        key, separator, value = line.partition(":")
        if line[:1] in (" ", "\t"):
            continue  # a long value goes on
        if not separator:
            break
        if value.isascii():
            fields.setdefault(key.lower(), value.strip())
    return fields


def _read(folder: str, name: str) -> bytes:
    with suppress(OSError), open(os.path.join(folder, name), "rb", buffering=0) as file:
        return file.read()
    return b""


def _from_library(source: str, finder: Any = None, **search: Any) -> Iterator[Copy | Failure]:
    library = _library()
    context = library.DistributionFinder.Context(**search)
    try:
        for distribution in (finder or library.MetadataPathFinder).find_distributions(context):
            yield _described(distribution)
    except Exception as error:  # noqa: BLE001 - a foreign finder may raise anything, and hides no other package
        text = printable(f"{source}: its distributions cannot be read: {with_type(error)}")
        yield Failure(printable(source), None, ManifestError(text, source=source))


def _described(distribution: Distribution) -> Copy:
    name = version = root = None
    entry_points = (distribution.read_text("entry_points.txt") or "").encode()
    with suppress(Exception):  # without metadata, or a location
        name, version = distribution.metadata.get("Name"), distribution.metadata.get("Version")
        root = str(distribution.locate_file(""))
    return Copy(normalized(name or UNKNOWN), version or UNKNOWN, entry_points, root or "", distribution=distribution)


def _library() -> Any:
    # Its import costs more than listing.
    import importlib_metadata

    return importlib_metadata
