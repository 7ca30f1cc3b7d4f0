"""Write a provider's manifest from its classes and decorators, and compare one with them."""

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
from lossreg.messages import is_installed
from lossreg.registries import losses, parts
from lossreg.registry.entry import Entry, Failure


def generate(package: str, *, beside: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe what a top-level package registers. Imports all of it.

    Args:
        beside: the manifest that is there already. Modules without any of its losses may then need a package that is
            not installed, such as that of an extra. None: every module must be importable.
    Raises:
        ManifestError: the package cannot be imported, or registers nothing.
    """
    folder = manifest.package_folder(package)
    prefixes = (f"{package}.", f"{package}:")
    with losses.scope(), parts.scope():
        # What an older manifest says must not stand in the way of a loss that was renamed since.
        for registry in (losses, parts):
            for entry in registry.entries():
                if entry.target.startswith(prefixes):
                    registry.unregister(entry.full_name)
        _import_all(package, folder, beside)
    described: dict[str, dict[str, Any]] = {section: {} for section in manifest.SECTIONS}
    for registry in (losses, parts):
        found = [entry for target, entry in registry.declarations.items() if target.startswith(prefixes)]
        described[registry.name] = {entry.name: _describe(entry) for entry in found}
    head: dict[str, Any] = {"schema": manifest.SCHEMA_VERSION}
    library = _library(package)
    if library is not None:
        head["library"] = library.requirement._asdict()
        manifest.library(head, package)  # what cannot be read is not written
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
    """Write the manifest into the package's folder; returns where."""
    path = manifest.package_folder(package) / manifest.FILE_NAME
    path.write_text(dumps(generate(package)), encoding="utf-8")
    return path


def check(package: str) -> None:
    """Compare the manifest with the code.

    Raises:
        ManifestError: it differs; the message shows the lines.
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
    """Where the two say something else, a line each: `losses.focal.parameters.properties.gamma.default`."""
    lines = ["- manifest", "+ code"]
    for place in sorted({*manifest, *code}):
        if manifest.get(place) != code.get(place):
            sides = (("-", manifest), ("+", code))
            lines += [f"{sign} {place} = {side[place]}" for sign, side in sides if place in side]
    return lines if len(lines) > 2 else [*lines, "the same, in another order"]


def _values(data: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every value that is no object, by its place."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _values(value, f"{place}.{key}" if place else key)
    else:
        yield place, json.dumps(data, ensure_ascii=False)


def _library(package: str) -> Library | None:
    """The library that the package's overlay describes, if it has one."""
    overlay = sys.modules.get(f"{package}.overlay")
    library = getattr(overlay, "library", None)
    return library if isinstance(library, Library) else None


def is_declared(package: str) -> bool:
    """Whether an installed distribution points to this package's manifest, so that it is found."""
    points = [item for item in declared() if not isinstance(item, Failure)]
    return any(item.group == MANIFESTS_GROUP and item.value.partition(":")[0] == package for item in points)


def dumps(data: dict[str, Any]) -> str:
    """As the file holds it: sorted where order has no meaning, so that a rebuild changes nothing."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _import_all(package: str, folder: Path, beside: Mapping[str, Any] | None) -> None:
    # Walking imports subpackages; what fails there fails again below, where it is reported.
    walked = pkgutil.walk_packages([str(folder)], f"{package}.", onerror=lambda name: None)
    names = [package, *(module.name for module in walked)]
    written = "" if beside is None else dumps(dict(beside))  # as text: whether it is well-formed is not asked here
    for name in names:
        if name.rpartition(".")[2] == "__main__":
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            needed = beside is None or f'"target": "{name}:' in written
            if not needed and _lacks_another(error, package):
                continue
            raise ManifestError(f"importing {name} raised {type(error).__name__}: {error}", source=package) from error


def _lacks_another(error: Exception, package: str) -> bool:
    """Whether an import failed for want of a package that is neither this one nor installed."""
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
