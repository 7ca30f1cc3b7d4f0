"""Writer of manifests: builds them from classes and decorators, and compares them with the code."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lossreg.authoring.describe import described_class
from lossreg.authoring.library import Library
from lossreg.discovery import manifest
from lossreg.discovery.distributions import MANIFESTS_GROUP, declared
from lossreg.errors import ManifestError
from lossreg.messages import is_installed, with_type
from lossreg.records.atomic_write import write_text
from lossreg.registries import losses, parts
from lossreg.registry.entry import Entry, Failure


def generate(package: str, *, beside: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the manifest of a top-level package; imports all of its modules.

    Args:
        package: the import name.
        beside: the manifest that exists already. A module without any of its losses may then require a package that is
            not installed, such as that of an extra. None: every module must be importable.
    Raises:
        ManifestError: the package cannot be imported, or registers no loss.
    """
    described = {
        section: {entry.name: _describe(entry) for entry in entries}
        for section, entries in _declared_entries(package, beside).items()
    }
    head: dict[str, Any] = {"schema": manifest.SCHEMA_VERSION}
    library = _library(package)
    if library is not None:
        head["library"] = library.requirement._asdict()
        manifest.library(head, package)  # raises if it could not be read again
        for section, name, description in library.manifest():
            if name in described[section]:
                raise ManifestError(f"{package}: {section} {name!r} is declared twice; rename one", source=package)
            described[section][name] = description
    if not described["losses"]:
        raise ManifestError(
            f"{package} registers no loss; decorate its classes with @lossreg.losses.register(...)", source=package
        )
    return head | {section: dict(sorted(found.items())) for section, found in described.items() if found}


def build(package: str) -> Path:
    """Write the manifest into the package's folder, and return its path."""
    path = manifest.package_folder(package) / manifest.FILE_NAME
    write_text(path, dumps(generate(package)))
    return path


def check(package: str) -> None:
    """Check that the manifest equals the code.

    Raises:
        ManifestError: they differ; the message lists the differences.
    """
    written = manifest.read(package, manifest.FILE_NAME)
    generated = generate(package, beside=written)
    if dumps(written) != dumps(generated):
        raise ManifestError(
            f"{package}:{manifest.FILE_NAME} differs from the code; run `lossreg manifest build {package}`\n"
            + "\n".join(_difference(dict(_values(written)), dict(_values(generated)))),
            source=package,
        )


def _difference(manifest: dict[str, str], code: dict[str, str]) -> list[str]:
    """List the places where the two differ, such as `losses.focal.parameters.properties.gamma.default`."""
    lines = ["- manifest", "+ code"]
    for place in sorted({*manifest, *code}):
        if manifest.get(place) != code.get(place):
            sides = (("-", manifest), ("+", code))
            lines += [f"{sign} {place} = {side[place]}" for sign, side in sides if place in side]
    return lines if len(lines) > 2 else [*lines, "the same values, in another order"]


def _values(data: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every value that is not an object."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _values(value, f"{place}.{key}" if place else key)
    else:
        yield place, json.dumps(data, ensure_ascii=False)


def _library(package: str) -> Library | None:
    """Return the library that the package's overlay describes, if it has one."""
    overlay = sys.modules.get(f"{package}.overlay")
    library = getattr(overlay, "library", None)
    return library if isinstance(library, Library) else None


def is_declared(package: str) -> bool:
    """Return whether an installed distribution declares the manifest of this package."""
    points = [item for item in declared() if not isinstance(item, Failure)]
    return any(item.group == MANIFESTS_GROUP and item.value.partition(":")[0] == package for item in points)


def dumps(data: dict[str, Any]) -> str:
    """Return the text of the manifest's file."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _declared_entries(package: str, beside: Mapping[str, Any] | None) -> dict[str, list[Entry]]:
    """Import all modules of a package; return the entries of its decorators, by section of the manifest."""
    folder = manifest.package_folder(package)
    prefixes = (f"{package}.", f"{package}:")
    # Decorators run once: those of modules that are imported already count as well.
    declarations = {registry.name: {**registry.declarations} for registry in (losses, parts)}
    with losses.scope(), parts.scope():
        # Entries of an older manifest would conflict with losses that were renamed since.
        for registry in (losses, parts):
            for entry in registry.entries():
                if entry.target.startswith(prefixes):
                    registry.unregister(entry.full_name)
        _import_all(package, folder, beside)
        for registry in (losses, parts):
            declarations[registry.name] |= registry.declarations
    return {
        section: [entry for entry in found.values() if entry.target.startswith(prefixes)]
        for section, found in declarations.items()
    }


def _import_all(package: str, folder: Path, beside: Mapping[str, Any] | None) -> None:
    # Walking imports subpackages; an error there occurs again below, and is reported there.
    walked = pkgutil.walk_packages([str(folder)], f"{package}.", onerror=lambda name: None)
    names = [package, *(module.name for module in walked)]
    written = "" if beside is None else dumps(dict(beside))  # as text, because it may be malformed
    for name in names:
        if name.rpartition(".")[2] == "__main__":
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            required = beside is None or f'"target": "{name}:' in written
            if not required and _lacks_dependency(error, package):
                continue
            raise ManifestError(f"importing {name} raised {with_type(error)}", source=package) from error


def _lacks_dependency(error: Exception, package: str) -> bool:
    """Return whether an import failed because another package is not installed."""
    lacking = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return lacking not in ("", package) and not is_installed(lacking)


def _describe(entry: Entry) -> dict[str, Any]:
    if entry.cls is None:
        raise ManifestError(f"{entry.full_name} is not loaded", source=entry.target)
    return {
        "target": entry.target,
        "aliases": sorted(entry.aliases),
        "tags": sorted(entry.tags or ()),
        **described_class(entry.cls, entry.metadata),
    }
