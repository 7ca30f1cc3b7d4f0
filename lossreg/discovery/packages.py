"""Packages and their files, found without importing anything.

A package may lie within namespace packages, which have no code: `acme_ns.losses`. In any other package Python would
have to import the parent to find it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec, NamespaceLoader, PathFinder
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from lossreg.errors import ManifestError


def package_folder(package: str) -> Path:
    """Return the folder of a package, without importing it.

    Raises:
        ManifestError: it is not installed, a namespace package, within another package, or not in a folder.
    """
    folders = _found(package).submodule_search_locations
    if not folders:
        raise ManifestError(f"package {package!r} lies in no folder; install it as files", source=package)
    return Path(next(iter(folders)))


def source_file(target: str) -> Path | None:
    """Return the file that defines "module:qualname", without importing it; None if there is no such file."""
    try:
        spec, rest = _walked(target.partition(":")[0])
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or (rest and spec.submodule_search_locations is None):
        return None
    candidates = [Path(spec.origin)]
    if rest:
        base = candidates[0].parent.joinpath(*rest)
        candidates = [base / "__init__.py", base.with_name(base.name + ".py")]
    return next((path for path in candidates if path.is_file()), None)


def read_file(package: str, file_name: str, root: str | None, most: int) -> bytes:
    """Read at most so many bytes of a file in a package's own folder.

    Args:
        root: the folder of the package's distribution, which is tried first. That takes half as long as `find_spec`.
    Raises:
        ManifestError: the package cannot be located.
        Exception: the file cannot be read: an OSError, or any other of a foreign loader.
    """
    if root is not None and _is_in(root, package):
        with suppress(OSError), open(os.path.join(root, *package.split("."), file_name), "rb") as file:
            return file.read(most)
    with _opened(_found(package), file_name) as file:
        return file.read(most)


def _is_in(root: str, package: str) -> bool:
    """Return whether a folder has a package with an __init__.py, within namespace packages alone.

    A frozen application has the data of packages in folders, and their code elsewhere.
    """
    *parents, last = package.split(".")
    if not all(part.isidentifier() for part in (*parents, last)):
        return False
    folder = root
    for parent in parents:
        folder = os.path.join(folder, parent)
        if os.path.isfile(os.path.join(folder, "__init__.py")):
            return False
    return hasattr(sys, "frozen") or os.path.isfile(os.path.join(folder, last, "__init__.py"))


def _found(package: str) -> ModuleSpec:
    """Return the spec of a package that may have a manifest."""
    if package and not all(part.isidentifier() for part in package.split(".")):
        raise ManifestError(f"a manifest must be in a top-level package, got {package!r}", source=package)
    try:
        spec, rest = _walked(package)
    except (ImportError, ValueError) as error:
        raise ManifestError(f"package {package!r} cannot be located: {error}", source=package) from error
    if spec is not None and rest:
        parent = package.removesuffix("." + ".".join(rest))
        raise ManifestError(
            f"a manifest must be in a top-level package, got {package!r}; move it to {parent!r},"
            f" which Python would import to find {package!r}",
            source=package,
        )
    if spec is None or spec.submodule_search_locations is None:
        raise ManifestError(f"package {package!r} is not installed, or not a package", source=package)
    if _is_namespace(spec):
        raise ManifestError(
            f"package {package!r} is a namespace package: other distributions may have a part of it, with a file of the"
            f" same name. Move the manifest into a package of your own with an __init__.py, such as '{package}.losses'",
            source=package,
        )
    return spec


def _walked(name: str) -> tuple[ModuleSpec | None, list[str]]:
    """Return the spec of the first part of a dotted name that is no namespace package, and the parts behind it."""
    top, *rest = name.split(".")
    spec = find_spec(top)
    while spec is not None and rest and _is_namespace(spec):
        top = f"{top}.{rest.pop(0)}"
        spec = _within(list(spec.submodule_search_locations or ()), top)
    return spec, rest


def _within(folders: list[str], name: str) -> ModuleSpec | None:
    """Return the spec of a module in the folders of a namespace package. `importlib.util.find_spec` imports those."""
    for finder in sys.meta_path:
        # PathFinder looks for the last part alone. Of a namespace package it would take the parent from sys.modules.
        known = name.rpartition(".")[2] if finder is PathFinder else name
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(known, folders) if find is not None else None
        if spec is not None:
            return spec
    return None


def _is_namespace(spec: ModuleSpec) -> bool:
    return spec.loader is None or isinstance(spec.loader, NamespaceLoader)


def _opened(spec: ModuleSpec, file_name: str) -> BinaryIO:
    """Open a file in the folder of a package, or in the archive or other place of its loader."""
    loader: Any = spec.loader
    folder = next(iter(spec.submodule_search_locations or ()), os.path.dirname(spec.origin or ""))
    path = os.path.join(folder, file_name)
    if os.path.isdir(folder):
        return open(path, "rb")
    reader = loader.get_resource_reader(spec.name) if hasattr(loader, "get_resource_reader") else None
    if reader is not None:
        stream: BinaryIO = reader.open_resource(file_name)
        return stream
    return BytesIO(loader.get_data(path))
