"""Writer of manifests: builds them from classes and decorators, and compares them with the code."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from lossreg.authoring import declared_entries
from lossreg.authoring.describe import described_class
from lossreg.authoring.describe import unchecked as unchecked_of
from lossreg.authoring.library import Library
from lossreg.authoring.manifest_text import differences, dumps, without
from lossreg.authoring.package_modules import lacks_dependency, listed, need_torch
from lossreg.authoring.project import project_of
from lossreg.discovery import manifest
from lossreg.discovery.distributions import MANIFESTS_GROUP, declared
from lossreg.errors import ManifestError
from lossreg.messages import with_type
from lossreg.records.atomic_write import write_text
from lossreg.registry.entry import Entry, Failure


def generate(package: str, *, beside: Mapping[str, Any] | None = None, exclude: Collection[str] = ()) -> dict[str, Any]:
    """Return the manifest of a top-level package; imports all of its modules.

    Args:
        package: the import name.
        beside: the manifest that exists already. A module without any of its losses may then require a package that is
            not installed, such as that of an extra. None: every module must be importable.
        exclude: patterns of modules that are left out, such as "acme.tests*". Those in the pyproject.toml of the
            package count as well.
    Raises:
        ManifestError: a module cannot be imported, a class cannot be described, or the package registers no loss.
        MissingLibraryError: torch cannot be imported.
    """
    found = _generated(package, beside, exclude)
    if lines := _problems(package, found):
        cause = next(iter(found.failed.values()), None)
        raise ManifestError("\n".join(lines), source=package) from cause
    return found.data


class _Generated(NamedTuple):
    """A manifest, and what it lacks: see `Declared`."""

    data: dict[str, Any]
    problems: list[str]
    failed: dict[str, BaseException]
    exclude: list[str]


def _generated(package: str, beside: Mapping[str, Any] | None, exclude: Collection[str]) -> _Generated:
    excluded = _excluded(package, beside, exclude)
    need_torch(package)
    sections, problems, errors = declared_entries.declared(package, excluded)
    failed = {name: error for name, error in errors.items() if not _is_optional(name, error, package, beside)}
    described = {section: _described(package, entries) for section, entries in sections.items()}
    head: dict[str, Any] = {"schema": manifest.SCHEMA_VERSION} | ({"exclude": excluded} if excluded else {})
    library = _library(package)
    if library is not None:
        head["library"] = library.requirement._asdict()
        manifest.library(head, package)  # raises if it could not be read again
        for section, name, description in library.manifest():
            if name in described[section]:
                raise ManifestError(f"{package}: {section} {name!r} is declared twice; rename one", source=package)
            described[section][name] = description
    if not described["losses"] and not failed and not problems:
        raise ManifestError(
            f"{package} registers no loss; decorate its classes with @lossreg.losses.register(...)"
            + (f", in modules that are not excluded by {excluded}" if excluded else ""),
            source=package,
        )
    data = head | {section: dict(sorted(found.items())) for section, found in described.items() if found}
    return _Generated(data, problems, failed, excluded)


def _is_optional(name: str, error: BaseException, package: str, beside: Mapping[str, Any] | None) -> bool:
    """Return whether a module lacks a package, such as that of an extra, and the manifest has no losses of it."""
    if beside is None or not lacks_dependency(error, package):
        return False
    written = dumps(dict(beside))  # as text, because it may be malformed
    return not any(f'"target": "{name}{end}' in written for end in ".:")


def _table(package: str) -> list[str] | None:
    """Return the patterns for this package in its pyproject.toml; None if there is no such table."""
    project = project_of(source_folder(package))
    found = project.excluded() if project is not None else None
    own = package.count(".") + 1  # parts of a pattern that must match the package; others are of another package
    return found and [each for each in found if fnmatchcase(package, ".".join(each.split(".")[:own]))]


def _excluded(package: str, beside: Mapping[str, Any] | None, exclude: Collection[str]) -> list[str]:
    """Return the patterns of modules to leave out: as given and as in pyproject.toml, else as the manifest has them."""
    found = _table(package)
    if found is None and beside is not None:
        kept = beside.get("exclude")
        found = [pattern for pattern in kept if isinstance(pattern, str)] if isinstance(kept, list) else []
    return sorted({*(found or ()), *exclude})


def _problems(package: str, found: _Generated) -> list[str]:
    """List the modules that cannot be imported, the classes that no manifest can hold, and what the author can do."""
    lines = []
    if found.failed:
        patterns = [*found.exclude, *found.failed]
        lines = [
            f"{package}: these modules cannot be imported, and a manifest without their losses is not written:",
            *listed(found.failed),
            "mend them, or install what they import; or leave out those that register no loss:",
            f"  lossreg manifest build {package}{_options(patterns)}",
            "or for every build, for `lossreg manifest check` and for `lossreg doctor`, by this in pyproject.toml:",
            "  [tool.lossreg.manifest]",
            f"  exclude = {json.dumps(patterns, ensure_ascii=False)}",
        ]
    if found.problems:
        lines += [f"{package}: no manifest can hold these classes:", *(f"  {problem}" for problem in found.problems)]
    return lines


def _options(patterns: Iterable[str]) -> str:
    return "".join(f" --exclude {shlex.quote(pattern)}" for pattern in patterns)


def source_folder(package: str) -> Path:
    """Return the folder of a package's sources: behind the links of a strict editable install, its real one.

    Raises:
        ManifestError: the package is not installed.
    """
    if package.isidentifier() and package not in sys.modules and find_spec(package) is None:
        raise ManifestError(
            f"package {package!r} is not installed; correct its name, or run `pip install --editable .` in the folder"
            " of its sources",
            source=package,
        )
    folder = manifest.package_folder(package)
    real = (folder / "__init__.py").resolve().parent
    return real if real != folder.resolve() and project_of(real) is not None else folder


def build(package: str, exclude: Collection[str] = ()) -> Path:
    """Write the manifest into the package's folder, and return its path. `exclude`: as of `generate`."""
    path = source_folder(package) / manifest.FILE_NAME
    write_text(path, dumps(generate(package, exclude=exclude)))
    return path


def unchecked(package: str, exclude: Collection[str] = ()) -> list[str]:
    """List the parameters that the manifest describes by their defaults alone, with the remedy."""
    sections = declared_entries.declared(package, _excluded(package, None, exclude)).sections
    entries = [entry for section in sections.values() for entry in section]
    return [line for entry in entries if entry.cls is not None for line in unchecked_of(entry.target, entry.cls)]


def check(package: str) -> None:
    """Check that the manifest equals the code.

    Raises:
        ManifestError: they differ, or a module cannot be imported; the message lists both.
    """
    written = manifest.read(package, manifest.FILE_NAME, str(source_folder(package).parent))
    found = _generated(package, written, ())
    lines = _problems(package, found)
    if not found.failed.keys() & {package, f"{package}.overlay"}:
        lines += _drift(package, without(written, found.failed), found)
    if lines:
        raise ManifestError("\n".join(lines), source=package)


def _drift(package: str, written: dict[str, Any], found: _Generated) -> list[str]:
    """List the differences between a manifest and the code; empty if there are none."""
    if dumps(written) == dumps(found.data):
        return []
    command = f"lossreg manifest build {package}" + ("" if _table(package) is not None else _options(found.exclude))
    changes = differences(written, found.data)
    return [f"{package}:{manifest.FILE_NAME} differs from the code; run `{command}`", *changes]


def _library(package: str) -> Library | None:
    """Return the library that the package's overlay describes, if it has one."""
    overlay = sys.modules.get(f"{package}.overlay")
    library = getattr(overlay, "library", None)
    return library if isinstance(library, Library) else None


def is_declared(package: str) -> bool:
    """Return whether an installed distribution declares the manifest of this package."""
    points = [item for item in declared() if not isinstance(item, Failure)]
    return any(item.group == MANIFESTS_GROUP and item.value.partition(":")[0] == package for item in points)


def _described(package: str, entries: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    return {entry.name: _describe(package, entry) for entry in entries}


def _describe(package: str, entry: Entry) -> dict[str, Any]:
    assert entry.cls is not None  # its decorator ran
    try:
        described = described_class(entry.cls, entry.metadata)
    except Exception as error:
        raise ManifestError(
            f"{package}: {entry.target} ({entry.name!r}) cannot be described: {with_type(error)}", source=entry.target
        ) from error
    return {
        "target": entry.target,
        "aliases": sorted(entry.aliases),
        "tags": sorted(entry.tags or ()),
        **described,
    }
