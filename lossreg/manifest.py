"""A manifest: what a provider's losses are called and take, as a JSON file that is read without importing the provider.

Nobody writes one by hand: `lossreg manifest build PACKAGE` generates it from the classes and their decorators.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lossreg.entry import Entry, check_target, declare
from lossreg.errors import InvalidNameError, LossregError, ManifestError
from lossreg.requirement import Requirement, read_requirement

SCHEMA_VERSION = 1
SECTIONS = {"losses": "loss", "parts": "part"}
FILE_NAME = "lossreg.json"
MAX_BYTES = 4 * 2**20  # a thousand losses are about one MiB


def package_folder(package: str) -> Path:
    """Where a top-level package lies, without importing it."""
    if "." in package:  # find_spec would import the parent
        raise ManifestError(f"a manifest lies in a top-level package, got {package!r}", source=package)
    try:
        spec = find_spec(package)
    except (ImportError, ValueError) as error:
        raise ManifestError(f"package {package!r} cannot be located: {error}", source=package) from error
    if spec is None or not spec.submodule_search_locations:
        raise ManifestError(f"package {package!r} is not installed, or is no package", source=package)
    return Path(next(iter(spec.submodule_search_locations)))


def source_file(target: str) -> Path | None:
    """The file that defines "module:qualname", without importing it; None where it cannot be told."""
    package, *rest = target.partition(":")[0].split(".")
    try:
        base = package_folder(package).joinpath(*rest)
    except ManifestError:
        return None
    candidates = [base / "__init__.py", *([base.with_name(base.name + ".py")] if rest else [])]
    return next((path for path in candidates if path.is_file()), None)


def read(package: str, file_name: str, root: str | None = None) -> dict[str, Any]:
    """The manifest in a top-level package's folder.

    Args:
        root: where its distribution is installed. Looked into first, at half the cost of asking the import system,
            which knows better only for editable installs.
    Raises:
        ManifestError: not there, too large, not JSON, or of an unknown schema version.
    """
    source = f"{package}:{file_name}"
    try:
        raw = _read_bytes(package, file_name, root)
    except OSError as error:
        raise ManifestError(
            f"{source} cannot be read: {error.strerror}; `lossreg manifest build {package}` writes it", source=source
        ) from error
    if len(raw) > MAX_BYTES:
        raise ManifestError(f"{source} is too large; at most {MAX_BYTES} bytes are read", source=source)
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{source} is not JSON: {error}", source=source) from error
    version = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(data, dict) or version != SCHEMA_VERSION:
        raise ManifestError(
            f"{source} has schema version {version!r:.80}, this lossreg reads {SCHEMA_VERSION};"
            f" upgrade lossreg, or rebuild it with `lossreg manifest build {package}`",
            source=source,
        )
    return data


def _read_bytes(package: str, file_name: str, root: str | None) -> bytes:
    """One byte more than is allowed tells that there are more."""
    if root is not None and "." not in package:
        with suppress(OSError), open(os.path.join(root, package, file_name), "rb") as file:
            return file.read(MAX_BYTES + 1)
    with open(package_folder(package) / file_name, "rb") as file:
        return file.read(MAX_BYTES + 1)


def library(data: Mapping[str, Any], package: str) -> Requirement | None:
    """The library that a manifest describes, if it is another than the package itself.

    Raises:
        ManifestError: it is malformed.
    """
    try:
        return read_requirement(data.get("library"))
    except InvalidNameError as error:
        raise ManifestError(f"{package}: {error}", source=package) from error


def entries(
    data: Mapping[str, Any], package: str, section: str = "losses", **source: Any
) -> Iterator[Entry | ManifestError]:
    """An entry for each loss (or part) of a manifest, or what is wrong with it. `source`: further fields of entries."""
    described = data.get(section, {} if section != "losses" else None)
    if not isinstance(described, dict):
        yield ManifestError(f"{package}: {section!r} must be an object, got {type(described).__name__}", source=package)
        return
    for name, loss in described.items():
        try:
            metadata = dict(loss)
            target, tags, aliases = metadata.pop("target"), metadata.pop("tags", []), metadata.pop("aliases", [])
            if not isinstance(metadata.get("parameters", {"properties": {}}).get("properties"), dict):
                raise ManifestError("its parameters have no properties", source=package)
            yield declare(name, check_target(target), tags, aliases, metadata, **source)
        except (LossregError, TypeError, ValueError, KeyError, AttributeError) as error:
            yield ManifestError(f"{package}: {SECTIONS[section]} {name!r:.80} is malformed: {error}", source=package)
