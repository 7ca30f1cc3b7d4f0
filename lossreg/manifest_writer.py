"""Write a provider's manifest from its classes and decorators, and compare one with them."""

from __future__ import annotations

import difflib
import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

from lossreg import manifest
from lossreg.describe import described_class
from lossreg.discovery import losses
from lossreg.entry import Entry, Failure
from lossreg.errors import ManifestError
from lossreg.installed import MANIFESTS_GROUP, declared


def generate(package: str) -> dict[str, Any]:
    """The manifest of a top-level package, from what it registers. Imports all of it.

    Raises:
        ManifestError: the package cannot be imported, or registers nothing.
    """
    folder = manifest.package_folder(package)
    prefixes = (f"{package}.", f"{package}:")
    with losses.scope():
        # What an older manifest says must not stand in the way of a loss that was renamed since.
        for entry in losses.entries():
            if entry.target.startswith(prefixes):
                losses.unregister(entry.full_name)
        _import_all(package, folder)
    found = [entry for target, entry in losses.declarations.items() if target.startswith(prefixes)]
    if not found:
        raise ManifestError(
            f"{package} registers no loss; decorate its classes with @lossreg.losses.register(...)", source=package
        )
    described = {entry.name: _describe(entry) for entry in found}
    return {"schema": manifest.SCHEMA_VERSION, "losses": dict(sorted(described.items()))}


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
    difference = list(
        difflib.unified_diff(
            dumps(written).splitlines(), dumps(generate(package)).splitlines(), "manifest", "code", lineterm="", n=2
        )
    )
    if difference:
        raise ManifestError(
            f"{package}:{manifest.FILE_NAME} differs from the code; run `lossreg manifest build {package}`\n"
            + "\n".join(difference),
            source=package,
        )


def is_declared(package: str) -> bool:
    """Whether an installed distribution points to this package's manifest, so that it is found."""
    points = [item for item in declared() if not isinstance(item, Failure)]
    return any(item.group == MANIFESTS_GROUP and item.value.partition(":")[0] == package for item in points)


def dumps(data: dict[str, Any]) -> str:
    """As the file holds it: sorted where order has no meaning, so that a rebuild changes nothing."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _import_all(package: str, folder: Path) -> None:
    # Walking imports subpackages; what fails there fails again below, where it is reported.
    walked = pkgutil.walk_packages([str(folder)], f"{package}.", onerror=lambda name: None)
    names = [package, *(module.name for module in walked)]
    for name in names:
        if name.rpartition(".")[2] == "__main__":
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ManifestError(f"importing {name} raised {type(error).__name__}: {error}", source=package) from error


def _describe(entry: Entry) -> dict[str, Any]:
    if entry.cls is None:
        raise ManifestError(f"{entry.full_name} is not loaded", source=entry.target)
    return {
        "target": entry.target,
        "aliases": sorted(entry.aliases),
        "tags": sorted(entry.tags or ()),
        **described_class(entry.cls, entry.metadata),
    }
