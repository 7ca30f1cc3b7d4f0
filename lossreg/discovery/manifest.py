"""Manifests: JSON files with the names, parameters and contracts of a provider's losses, read without importing it.

They are not written by hand: `lossreg manifest build PACKAGE` generates them from the classes and their decorators.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from lossreg.discovery.distributions import Declared
from lossreg.discovery.packages import package_folder, read_file, source_file
from lossreg.errors import InvalidNameError, LossregError, ManifestError
from lossreg.messages import with_type
from lossreg.registry.entry import Entry, check_target, declare
from lossreg.registry.metadata import check
from lossreg.registry.requirement import Requirement, read_requirement

__all__ = ["FILE_NAME", "SCHEMA_VERSION", "SECTIONS", "entries", "library", "package_folder", "read", "source_file"]

SCHEMA_VERSION = 1
SECTIONS = {"losses": "loss", "parts": "part"}
FILE_NAME = "lossreg.json"
MAX_BYTES = 4 * 2**20  # a thousand losses are about one MiB
MAX_DEPTH = 64  # walkers of schemas are recursive

# Only names and ranges that pip reads: the command that installs a library is shown to be copied.
_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[\w.\-]*[A-Za-z0-9])?", re.ASCII)
_VERSION = r"\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.post\d+)?(?:\.dev\d+)?"
_BOUND = rf"\s*(?:(?:[<>]=?|[!=]=)\s*{_VERSION}|[!=]=\s*\d+(?:\.\d+)*\.\*|~=\s*\d+(?:\.\d+)+)\s*"
_VERSIONS = re.compile(rf"(?:{_BOUND}(?:,{_BOUND})*)?", re.ASCII)
_FILE = re.compile(r"[\w.\-]+")


def read(package: str, file_name: str, root: str | None = None, declared: Declared | None = None) -> dict[str, Any]:
    """Read the manifest in a package's folder.

    Args:
        root: the folder of its distribution, which is tried first. An editable install has the package elsewhere.
        declared: the line that declares it, for the remedy in the message.
    Raises:
        ManifestError: missing, too large, not JSON, a duplicate key, nested too deeply, or an unknown schema version.
    """
    source = f"{package}:{file_name}"
    if not _FILE.fullmatch(file_name):
        raise ManifestError(f"a manifest must be a file in the package's own folder, got {source!r:.80}", source=source)
    try:
        raw = read_file(package, file_name, root, MAX_BYTES + 1)
    except ManifestError:
        raise
    except Exception as error:
        cause = getattr(error, "strerror", None) or with_type(error)
        remedy = _remedy(package, file_name, declared)
        raise ManifestError(f"{source} cannot be read: {cause}; {remedy}", source=source) from error
    if len(raw) > MAX_BYTES:
        raise ManifestError(f"{source} is too large; at most {MAX_BYTES} bytes are read", source=source)
    try:
        data = json.loads(raw, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{source} is not JSON: {error}", source=source) from error
    if _is_deep(data):
        raise ManifestError(f"{source} is nested deeper than {MAX_DEPTH} levels", source=source)
    version = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(data, dict) or version != SCHEMA_VERSION:
        raise ManifestError(
            f"{source} has schema version {version!r:.80}, this lossreg reads {SCHEMA_VERSION};"
            f" upgrade lossreg, or rebuild it with `lossreg manifest build {package}`",
            source=source,
        )
    return data


def _remedy(package: str, file_name: str, declared: Declared | None) -> str:
    """Say how a missing manifest comes into the package: a user cannot write it into an installed wheel."""
    if hasattr(sys, "frozen"):
        return f"the application was packed without it: add --collect-all {package} to the options of PyInstaller"
    if declared is None or not _is_built(package, declared):
        return f"`lossreg manifest build {package}` writes it"
    return (
        f"the installed {declared.distribution} {declared.version} lacks it: ask its authors to add it to the wheel,"
        f' with setuptools by `"{package}" = ["{file_name}"]` below [tool.setuptools.package-data]'
    )


def _is_built(package: str, declared: Declared) -> bool:
    """Return whether a package was installed from a wheel. A development install has its code elsewhere."""
    root = declared.root
    if not os.path.isdir(root):  # an archive
        return True
    is_site = os.path.basename(root) in ("site-packages", "dist-packages")
    is_wheel = is_site or os.path.isfile(os.path.join(declared.folder, "RECORD"))
    return is_wheel and os.path.isdir(os.path.join(root, *package.split(".")))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make the object of JSON, and refuse a duplicate key, which would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"duplicate key {twice!r:.80}; remove one of them")
    return found


def _finite(text: str) -> float:
    """Read a number, and refuse those that JSON does not have. Python would read NaN, and 1e999 as infinity."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text:.80} is not finite")
    return value


def _is_deep(data: object) -> bool:
    level = [data]
    for _ in range(MAX_DEPTH):
        values = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, (dict, list)))
        level = [value for each in values for value in each if isinstance(value, (dict, list))]
        if not level:
            return False
    return True


def library(data: Mapping[str, Any], package: str) -> Requirement | None:
    """Return the library that a manifest describes, or None if it describes the package itself.

    Raises:
        ManifestError: it is malformed.
    """
    try:
        found = read_requirement(data.get("library"))
    except (InvalidNameError, TypeError) as error:
        raise ManifestError(f"{package}: {error}", source=package) from error
    if found is not None and not _DISTRIBUTION.fullmatch(found.distribution):
        raise _unlike(package, "distribution", "a distribution's name", found.distribution)
    if found is not None and not _VERSIONS.fullmatch(found.versions):
        raise _unlike(package, "versions", 'a range of versions, such as ">=1.5,<2"', found.versions)
    return found


def _unlike(package: str, key: str, expected: str, given: str) -> ManifestError:
    return ManifestError(f"{package}: 'library.{key}' must be {expected}, got {given!r:.80}", source=package)


def entries(
    data: Mapping[str, Any], package: str, section: str = "losses", **source: Any
) -> Iterator[Entry | ManifestError]:
    """Yield an entry, or an error, for each loss or part of a manifest. `source`: further fields of the entries."""
    described = data.get(section, {} if section != "losses" else None)
    if not isinstance(described, dict):
        yield ManifestError(f"{package}: {section!r} must be an object, got {type(described).__name__}", source=package)
        return
    for name, loss in described.items():
        try:
            metadata = dict(loss)
            target, tags, aliases = metadata.pop("target", None), metadata.pop("tags", []), metadata.pop("aliases", [])
            check(metadata)
            yield declare(name, check_target(target), tags, aliases, metadata, **source)
        except (LossregError, TypeError, ValueError) as error:
            message = f"{package}: {SECTIONS[section]} {name!r:.80} is malformed: {error!s:.500}"
            yield ManifestError(message, source=package)
